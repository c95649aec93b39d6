"""The plan of an optimizer's step, which is reused until its tensors change."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from fastopt.engine.core.exchange import holds_values, same_objects
from fastopt.engine.update.plan import Plan, Tensor
from fastopt.engine.update.update import Update
from fastopt.torch import devices, tensors
from fastopt.torch.fingerprint import fingerprint, is_negated
from fastopt.torch.numbers import Numbers


class Disagreement(Exception):
    """Parameters that shared their coefficients now need different ones."""


class CachedPlan:
    """An optimizer's parameters that have had gradients, with their state, and the plan of those in host memory.

    Parameters
    ----------
    optimizer : fastopt.torch.optimizer.Optimizer
        It is not changed before `keep`.
    params, grads : list of torch.Tensor
        Those of all groups.
    before : CachedPlan, optional
        The previous plan.
    """

    def __init__(self, optimizer: Any, params: list[Any], grads: list[Any], before: CachedPlan | None):
        groups = optimizer.param_groups
        known = set() if before is None else {id(param) for param in before.chosen}
        places = [(number, i) for number, group in enumerate(groups) for i in range(len(group["params"]))]
        found = [i for i, param in enumerate(params) if grads[i] is not None or id(param) in known]
        for i in found:
            tensors.check(params[i], label(groups, *places[i]))
        found.sort(key=lambda i: tensors.is_on_device(params[i]))
        #: All parameters; the positions of those that are updated, host parameters first; the positions of the others.
        self.params, self.found = params, found
        self.others = sorted(set(range(len(params))) - set(found))
        self.chosen: list[Any] = [params[i] for i in found]
        self.on_host = sum(not tensors.is_on_device(param) for param in self.chosen)
        self.labels = [label(groups, *places[i]) for i in found]
        self.grad_labels = [f"grad of {name}" for name in self.labels]
        self.names = _names(optimizer)
        self._take_state(optimizer, [places[i][0] for i in found])
        #: Tensors that `is_current` compares.
        self.kept = list(chain.from_iterable(self.arrays))
        self.fingerprint = fingerprint(self.kept)
        self.values: list[Any] = []
        #: Fingerprint of the last step's gradients, if every parameter had one.
        self.seen: Any = None
        on_host = zip(self.labels[: self.on_host], self.share, self.arrays, strict=False)
        self.plan = Plan(
            [Tensor(name, int(share), tuple(tensor.detach() for tensor in arrays)) for name, share, arrays in on_host],
            of_torch=True,
        )
        self._count_on()
        if self.on_host < len(self.chosen):
            devices.check(self.arrays[self.on_host :], self.labels[self.on_host :])

    def _take_state(self, optimizer: Any, numbers: list[int]) -> None:
        """Find or create each parameter's state; find out which parameters share their coefficients."""
        states = [optimizer.state.get(param, {}) for param in self.chosen]
        #: Each parameter's arrays except the gradient, in the order of the rule.
        self.arrays: list[tuple[Any, ...]] = []
        for param, state, number in zip(self.chosen, states, numbers, strict=True):
            arrays = [param]
            for name in self.names[number][1]:
                array = state.get(name)
                if array is None:
                    array = torch.full_like(param, optimizer.start(name), requires_grad=False)
                arrays.append(array)
            self.arrays.append(tuple(arrays))
        #: The numbers in the state, by name.
        starts = {"step": 0.0} if optimizer.counted else {}
        if optimizer.product is not None:
            starts[optimizer.product] = 1.0
        self.numbers = {
            name: Numbers(name, [state.get(name) for state in states], start, self.labels)
            for name, start in starts.items()
        }
        if optimizer.counted:
            self.counts = self.numbers["step"].values
        else:  # enough to distinguish the first step from later ones
            counts = [any(state.get(name) is not None for name in self.names[number][1])
                      for state, number in zip(states, numbers, strict=True)]  # fmt: skip
            self.counts = np.array(counts, float)
        self.product = self.numbers.get(optimizer.product or "")
        products = [1.0] * len(states) if self.product is None else self.product.values.tolist()
        #: Parameters with the same group number and product share coefficients while their step counts are equal.
        self.shares = sorted(set(zip(numbers, products, strict=True)))
        of_share = {share: i for i, share in enumerate(self.shares)}
        self.share = np.array([of_share[share] for share in zip(numbers, products, strict=True)], np.int64)
        #: The factor of each parameter's product.
        self.factors = None if self.product is None else np.ones(len(states))
        #: Each parameter's entries of the state.
        self.entries = [
            {**{name: held.tensors[i] for name, held in self.numbers.items()},
             **dict(zip(self.names[number][1], self.arrays[i][1:], strict=True))}
            for i, number in enumerate(numbers)
        ]  # fmt: skip

    def _count_on(self) -> None:
        """Set the plan's counts to those of the state."""
        for label, count in zip(self.labels, self.counts.tolist(), strict=True):
            if not count.is_integer():
                raise ValueError(f"step of {label} is {count}; expected a whole number")
        self.plan.steps[...] = self.counts[: self.on_host]

    # ---- At every step

    def is_current(self, optimizer: Any, params: list[Any], grads: list[Any]) -> bool:
        """Return whether nothing but the gradients has changed."""
        return (
            same_objects(params, self.params)
            and all(grads[i] is None for i in self.others)
            and self.names == _names(optimizer)
            and holds_values(optimizer.state, self.values)
            and self.fingerprint is not None
            and self.fingerprint.holds(self.kept)
            and not is_negated(self.chosen)
        )

    def step(self, optimizer: Any, grads: list[Any], grad_scale: float) -> None:
        """Update all parameters that have gradients; if it raises, ``begun`` tells whether anything was written."""
        self.begun = False
        if sum(held.read() for held in self.numbers.values()):
            self._count_on()
        if self.others or self.on_host < len(self.chosen):
            grads = [grads[i] for i in self.found]
        active = np.array([grad is not None for grad in grads], bool)
        choose = partial(self.choose, optimizer)
        arrays = self._looked_up(grads[: self.on_host], active)
        calls = self._device_calls(grads, choose, grad_scale) if self.on_host < len(grads) else []
        devices.prepare(calls)
        self.plan.step(choose, arrays, grad_scale)
        self.begun = True
        if arrays is not None:
            self.seen = fingerprint(grads[: self.on_host]) if active[: self.on_host].all() else None
        written = self.chosen[: self.on_host]
        if not active.all():
            written = [param for param, grad in zip(written, grads, strict=False) if grad is not None]
        torch.autograd.graph.increment_version(written)
        if calls:  # counted separately: if a launch fails, the host parameters have already been updated
            self._count(active & (np.arange(len(grads)) < self.on_host))
            devices.run(calls)
            active[: self.on_host] = False
        self._count(active)

    def _looked_up(self, grads: list[Any], active: np.ndarray[Any, Any]) -> list[Any] | None:
        """Return the gradients as arrays; None if each has the address and layout of the last step's.

        This is the usual case, because the allocator returns the same memory at each step.
        """
        if self.seen is not None and active[: self.on_host].all() and self.seen.holds(grads) and not is_negated(grads):
            return None
        self.seen = None
        return tensors.as_arrays(grads, self.grad_labels)

    def _count(self, active: np.ndarray[Any, Any]) -> None:
        """Count a step of the given parameters."""
        if "step" in self.numbers:
            self.numbers["step"].advance(active)
        else:
            self.counts += active
        if self.product is not None:
            self.product.advance(active, self.factors)

    def _device_calls(self, grads: list[Any], choose: Any, grad_scale: float) -> list[devices.Call]:
        """Check the gradients on devices; return the calls to launch."""
        first = self.on_host
        lists: dict[Any, list[tuple[Any, ...]]] = {}
        for i in range(first, len(grads)):
            if grads[i] is None:
                continue
            param, *state = self.arrays[i]
            devices.check_fit(grads[i], param, self.grad_labels[i])
            key = (int(self.share[i]), int(self.counts[i]) + 1, param.device, param.dtype is torch.float64)
            lists.setdefault(key, []).append(tuple(tensor.detach() for tensor in (param, grads[i], *state)))
        calls = []
        for (share, step, _, _), arrays in lists.items():
            update, values = choose(share, step, grad_scale, on_device=True)
            calls.append(devices.Call(update, arrays, values))
        return calls

    def choose(
        self, optimizer: Any, share: int, step: int, grad_scale: float, on_device: bool = False
    ) -> tuple[Update, tuple[Any, ...]]:
        """Return the update of parameters that share coefficients, and its hyperparameters."""
        group = optimizer.param_groups[self.shares[share][0]]
        product = 1.0
        if self.product is not None and self.factors is not None:
            among = (self.share == share) & (self.counts == step - 1)
            before = self.product.values[among]
            if (before != before[0]).any():
                raise Disagreement
            dtype = self.product.dtype.type  # its storage dtype, so that a copy continues with the same bits
            self.factors[among] = factor = dtype(optimizer.factor(group, step))
            product = float(dtype(before[0]) * factor)
        lr = group["lr"]
        if not (on_device and isinstance(lr, torch.Tensor) and tensors.is_on_device(lr)):
            lr = tensors.number(lr)
        scale = -grad_scale if group["maximize"] else grad_scale
        chosen: tuple[Update, tuple[Any, ...]] = optimizer.update(group, step, lr, scale, product)
        return chosen

    # ---- After the first step

    def keep(self, optimizer: Any) -> None:
        """Put the new entries into the optimizer's state, and remember its current values."""
        for param, entries in zip(self.chosen, self.entries, strict=True):
            if entries:
                optimizer.state[param].update(entries)
        # All values that the state holds for parameters; other keys may hold anything.
        states = [kept for kept in optimizer.state.values() if type(kept) is dict]
        self.values = list(chain.from_iterable(map(dict.values, states)))


def _names(optimizer: Any) -> list[tuple[int, tuple[str, ...]]]:
    """Return the number of parameters of each group, and the names of its state arrays."""
    return [(len(group["params"]), optimizer.arrays(group)) for group in optimizer.param_groups]


def label(groups: list[dict[str, Any]], number: int, i: int) -> str:
    """Return the name of a parameter in messages: its own name, if the optimizer was given names."""
    names = groups[number].get("param_names")
    return f"parameter {names[i]!r}" if names else f"param_groups[{number}]['params'][{i}]"
