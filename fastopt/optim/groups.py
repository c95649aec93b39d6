"""Parameters as the caller passes them: arrays, arrays by name, or groups with their own hyperparameters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fastopt.common.display import Display, keywords, number_of
from fastopt.common.guarded import FixedList
from fastopt.common.messages import brief
from fastopt.common.types import Array
from fastopt.engine.core.hyperparameters import flag

#: Attributes of a group besides its hyperparameters.
OTHERS = ("params", "names", "step", "grad_scale", "mu_product")

#: Message for an assignment to the parameters of a group, or to one of them.
PARAMS = "the parameters of a group can't be replaced: write into the arrays, or make another optimizer"


class Group(Display):
    """Parameters that share hyperparameters, which are plain attributes: ``group.lr = 0.1``.

    Attributes
    ----------
    params : list
        The arrays.
    names : list of str or int
        Keys of the arrays in ``optimizer.state``: names, or positions among all parameters.
    """

    params: list[Array]
    names: list[str | int]

    _internal = OTHERS[2:]

    if TYPE_CHECKING:
        lr: float | Any  # a number or a function of the step; the caller knows which

        def __getattr__(self, name: str) -> Any: ...  # the optimizer determines which hyperparameters exist

    def __init__(self, params: list[Array], names: list[str | int], hyperparameters: dict[str, Any]):
        fixed = {"params": FixedList(params, PARAMS), "names": FixedList(names, PARAMS)}
        self.__dict__.update(hyperparameters, **fixed, step=0, grad_scale=1.0)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("params", "names"):
            raise AttributeError(PARAMS)
        if name not in self.hyperparameters:
            raise AttributeError(f"{name!r} is not a hyperparameter; expected one of {', '.join(self.hyperparameters)}")
        self.__dict__[name] = flag(name, value) if isinstance(self.__dict__[name], bool) else value

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name} of Group can't be deleted")

    def _parts(self) -> list[str]:
        return [number_of(len(self.params), "parameter"), *keywords(self.hyperparameters)]

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The current hyperparameters."""
        return {name: value for name, value in self.__dict__.items() if name not in OTHERS}


def make_groups(params: Any, hyperparameters: dict[str, Any], flags: Collection[str] = ()) -> list[Group]:
    """Return the groups in a caller's ``params``; plain arrays form one group."""
    given = list(_listed(params, "params")) if not isinstance(params, Mapping) else [params]
    if not (given and all(isinstance(each, Mapping) and "params" in each for each in given)):
        given = [{"params": params if isinstance(params, Mapping) else given}]
    groups: list[Group] = []
    taken: set[str | int] = set()
    for each in given:
        own = {name: value for name, value in each.items() if name != "params"}
        if foreign := [str(name) for name in own if name not in hyperparameters]:
            known = ", ".join(hyperparameters)
            raise TypeError(f"a group has {', '.join(foreign)}; expected params and, of the hyperparameters, {known}")
        names, arrays = _named(each["params"], len(taken))
        if again := [name for name in names if name in taken]:
            raise ValueError(f"params has {brief(again[0])} in two groups; expected names that differ")
        taken.update(names)
        values = {**hyperparameters, **own}
        values.update({name: flag(name, values[name]) for name in flags if name in values})
        groups.append(Group(arrays, names, values))
    if len({type(name) for name in taken}) > 1:
        raise TypeError("params has groups with names and groups without; expected names in all of them, or in none")
    return groups


def _named(params: Any, first: int) -> tuple[list[str | int], list[Array]]:
    if isinstance(params, Mapping):
        by_name = by_path(params, "params")
        if odd := [name for name in by_name if not isinstance(name, str)]:
            raise TypeError(f"params has the name {brief(odd[0])}, a {type(odd[0]).__name__}; expected a str")
        return list(by_name), list(by_name.values())
    arrays = list(_listed(params, "params"))
    return list(range(first, first + len(arrays))), arrays


def by_path(tree: Mapping[Any, Any], what: str) -> dict[Any, Any]:
    """Return the leaves of nested dicts and lists by path: ``{"dense/bias": b}`` of ``{"dense": {"bias": b}}``."""
    found: dict[Any, Any] = {}
    try:
        for path, leaf in _leaves(tree, what, None):
            if path in found:
                raise ValueError(f"{what} has {path!r} twice, with and without nesting; expected names that differ")
            found[path] = leaf
    except RecursionError:
        raise ValueError(f"{what} contains itself, or is nested too deeply; expected a tree of arrays") from None
    return found


def _leaves(tree: Mapping[Any, Any], what: str, outer: str | None) -> Iterator[tuple[Any, Any]]:
    for name, value in tree.items():
        if not isinstance(name, (str, int)):
            where = what if outer is None else f"{what}[{outer!r}]"
            raise TypeError(f"{where} has the name {brief(name)}, a {type(name).__name__}; expected a str")
        path = name if outer is None else f"{outer}/{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, what, str(path))
        elif type(value) in (list, tuple):
            yield from _leaves(dict(enumerate(value)), what, str(path))
        else:
            yield path, value


def _listed(given: Any, name: str) -> Iterable[Any]:
    """Refuse a single array, whose rows would be taken for parameters."""
    one = hasattr(given, "__dlpack__") or hasattr(given, "__array_interface__") or isinstance(given, (str, bytes))
    if one or not isinstance(given, Iterable):
        raise TypeError(f"{name} is a {type(given).__name__}; expected a list or a dict of arrays, or a list of groups")
    return given


def in_order(grads: Any, names: list[str | int]) -> Any:
    """Return the gradients in the parameters' order, from a list or from a dict, nested or not."""
    if not isinstance(grads, Mapping):
        return _listed(grads, "grads")
    known = set(names)  # looking up 2,000 names in the list took 100 ms
    if not known.issuperset(grads):
        grads = by_path(grads, "grads")
        if foreign := [name for name in grads if name not in known]:
            expected = ", ".join(map(brief, names[:8]))
            raise ValueError(f"grads has {brief(foreign[0])}, which is not a parameter; expected {expected}")
    if missing := [name for name in names if name not in grads]:
        raise ValueError(f"grads lacks {brief(missing[0])}; expected all names (None leaves a parameter as it is)")
    return [grads[name] for name in names]
