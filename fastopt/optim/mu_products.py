"""The products of mu over each parameter's updates, for NAdam."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastopt.updates import adam

if TYPE_CHECKING:
    from fastopt.engine.update.plan import Plan
    from fastopt.optim.groups import Group

#: Number of stored products above which those that no parameter needs are removed.
MANY = 64


class MuProducts:
    """For each parameter, the product of mu over its updates, where each mu used the hyperparameters at its update.

    Products are stored by history and number of updates, so a step that is skipped, refused or interrupted needs no
    repair. At first, the parameters of a group share one history. A parameter gets its own when it reaches the same
    number of updates as another one with different hyperparameters. The plan stores each parameter's history in place
    of its group: ``number + k * len(groups)`` belongs to group ``number``.
    """

    def __init__(self, groups: list[Group], plan: Plan):
        self._groups, self._plan = groups, plan
        self._known: dict[tuple[int, int], float] = {}
        self._limit = MANY

    def now(self) -> list[float]:
        """Return each parameter's product."""
        return [self._at(history, count) for history, count in self._places()]

    def after(self, history: int, step: int) -> float:
        """Return the product over all updates up to ``step``, including the one in progress."""
        known = self._known
        before = known.get((history, step - 1))  # _at would take 0.1 us longer
        product = (self._at(history, step - 1) if before is None else before) * self._mu(history, step)
        if known.setdefault((history, step), product) != product:
            history = self._part(history, step)
            known[history, step] = product
        if len(known) > self._limit:
            self._forget()
        return product

    def restored(self, products: list[float], counts: list[int]) -> tuple[MuProducts, list[int]]:
        """Return an object with these products after these numbers of updates, and the histories for the plan."""
        new, histories = MuProducts(self._groups, self._plan), []
        for (history, _), count, product in zip(self._places(), counts, products, strict=True):
            history %= len(self._groups)
            while new._known.setdefault((history, count), product) != product:
                history += len(self._groups)
            histories.append(history)
        return new, histories

    def _places(self) -> list[tuple[int, int]]:
        """Return each parameter's history and number of updates."""
        return list(zip(self._plan.groups, self._plan.steps.tolist(), strict=True))

    def _mu(self, history: int, step: int) -> float:
        values = self._groups[history % len(self._groups)].__dict__
        mu: float = adam.nadam_mu(step, values["beta1"], values["momentum_decay"])
        return mu

    def _at(self, history: int, count: int) -> float:
        """Return the product after ``step`` updates; if a caller has written the counts, it uses the current beta1."""
        product = self._known.get((history, count))
        if product is None:
            product = 1.0
            for step in range(1, count + 1):
                if product < 1e-300:  # 1 - product is 1 from here on
                    break
                product *= self._mu(history, step)
            self._known[history, count] = product
        return product

    def _part(self, history: int, step: int) -> int:
        """Return a new history for the parameters that make ``step``, unless the stored product is out of date."""
        places = self._places()
        if (history, step) not in places:
            return history
        groups = len(self._groups)
        new = max(self._plan.groups) // groups * groups + groups + history % groups
        self._known[new, step - 1] = self._known[history, step - 1]
        self._plan.regroup([new if place == (history, step - 1) else place[0] for place in places])
        return new

    def _forget(self) -> None:
        needed = {(history, count + more) for history, count in self._places() for more in (0, 1)}
        self._known = {place: product for place, product in self._known.items() if place in needed}
        self._limit = MANY + 2 * len(self._known)
