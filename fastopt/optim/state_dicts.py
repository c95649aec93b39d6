"""An optimizer's state as a dict of plain values: everything that determines its next steps, except the parameters."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastopt.common.messages import brief
from fastopt.engine.core.hyperparameters import Hyperparameters, whole
from fastopt.engine.core.intake import as_numpy
from fastopt.engine.core.pins import pinned
from fastopt.optim.groups import Group

if TYPE_CHECKING:
    from fastopt.optim.mu_products import MuProducts


#: A `fastopt.optim.Optimizer`, whose module imports this one.
Optimizer: TypeAlias = Any

#: The state arrays that belong to options; the others belong to the rule.
OF_OPTIONS = ("master", "ema")

#: Upper bound of a count, which must allow one more step.
LAST_STEP = 2**63 - 1

_Array: TypeAlias = np.ndarray[Any, Any]

_ema_decay = Hyperparameters("ema_decay")


def plain(value: Any) -> bool | int | float | str | None:
    """Return a hyperparameter as a built-in Python type; a learning rate that is a function becomes None."""
    if value is None or callable(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    try:
        return operator.index(value)
    except TypeError:
        return float(value)


def seed_from(given: Any) -> int:
    """Return the seed of stochastic rounding, checked."""
    return whole("stochastic_rounding", given, "None, or a seed: a whole number from 0 to 2**64 - 1", 2**64 - 1, 0)


def by_name(state: Any) -> Iterable[tuple[str | int, Any]]:
    """Return the state of each parameter with the parameter's name or position."""
    return state.items() if isinstance(state, Mapping) else enumerate(state)


# ---- From an optimizer


def view(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state dict with the optimizer's own arrays, which the next step overwrites."""
    state = {
        "optimizer": type(optimizer).__name__,
        "step_count": optimizer.step_count,
        "steps": optimizer.steps,
        "groups": [_group(group) for group in optimizer.groups],
        "state": optimizer._state,
        "master_weights": optimizer.master_weights,
        "stochastic_rounding": optimizer.stochastic_rounding,
        "ema_decay": optimizer.ema_decay,
    }
    if _products(optimizer) is not None:
        state["mu_products"] = optimizer.mu_products
    return state


def take(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state dict."""
    state = view(optimizer)
    copies = {
        name: {kind: array.copy(order="K") for kind, array in arrays.items()}
        for name, arrays in by_name(state["state"])
    }
    state["state"] = copies if isinstance(state["state"], dict) else list(copies.values())
    return {**state, "steps": state["steps"].copy()}


def _group(group: Group) -> dict[str, Any]:
    known = [as_numpy(param, f"params[{name!r}]") for name, param in zip(group.names, group.params, strict=True)]
    return {
        "names": list(group.names),
        "shapes": [list(values.shape) for values, _, _ in known],
        "dtypes": [storage for _, storage, _ in known],
        "hyperparameters": {name: plain(value) for name, value in group.hyperparameters.items()},
    }


def _products(optimizer: Optimizer) -> MuProducts | None:
    """The products of mu, which only NAdam has."""
    return getattr(optimizer, "_products", None)


# ---- Into an optimizer


def give(optimizer: Optimizer, state: Any) -> None:
    """Copy what `take` returned into the optimizer's own arrays; after an error, nothing has changed."""
    own = view(optimizer)
    if not isinstance(state, Mapping):
        raise TypeError(f"state is a {type(state).__name__}; expected a dict, as state_dict returns it")
    if "optimizer" in state and state["optimizer"] != own["optimizer"]:
        raise ValueError(f"state is of {brief(state['optimizer'])}; expected {own['optimizer']!r}")
    check_names(state, own, "state")
    step_count = _count(state["step_count"], "step_count")
    held = _Held(own)
    steps = _checked_steps(state["steps"], own["steps"], held)
    hyperparameters = _checked_groups(state["groups"], own["groups"], optimizer.groups)
    seed, ema_decay = _checked_options(state, own)
    arrays = [steps, *_checked_arrays(state["state"], own["state"], held)]
    products, histories = _products(optimizer), None
    if products is not None:
        counts = steps[1].tolist()
        products, histories = products.restored(_checked_products(state["mu_products"], counts), counts)
    _try(optimizer, hyperparameters, steps[1])

    dicts = [(vars(group), values) for group, values in zip(optimizer.groups, hyperparameters, strict=True)]
    dicts.append((vars(optimizer), {"stochastic_rounding": seed, "_ema_decay": ema_decay}))
    if products is not None:
        dicts.append((vars(optimizer), {"_products": products}))
    optimizer._plan.restore(step_count, arrays, dicts, groups=histories, average_decay=ema_decay, seed=seed)


def check_names(given: Any, own: Collection[Any], what: str) -> None:
    """Raise unless a dict has exactly these names."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} is a {type(given).__name__}; expected a dict")
    if missing := [name for name in own if name not in given]:
        raise ValueError(f"{what} lacks {', '.join(map(repr, missing[:8]))}")
    if foreign := [name for name in given if name not in own]:
        expected = ", ".join(map(repr, list(own)[:8]))
        raise ValueError(f"{what} has {', '.join(map(brief, foreign[:8]))}; expected only {expected}")


def _check_list(given: Any, own: list[Any], what: str) -> None:
    """Raise unless a list has the length of another; the elements are not checked."""
    if not isinstance(given, list):
        raise TypeError(f"{what} is a {type(given).__name__}; expected a list")
    if len(given) != len(own):
        raise ValueError(f"{what} has a length of {len(given)}; expected {len(own)}")


def _count(given: Any, what: str) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"{what} is {brief(given)}, a {type(given).__name__}; expected an int")
    if not 0 <= given < LAST_STEP:
        raise ValueError(f"{what} is {brief(given)}; expected a number from 0 to 2**63 - 2")
    return given


class _Held:
    """Arrays of a given state, which nothing else can resize during the lifetime of this object."""

    def __init__(self, own: dict[str, Any]):
        self._pins: list[Any] = []
        arrays = [own["steps"], *(array for _, arrays in by_name(own["state"]) for array in arrays.values())]
        self._own = {id(_owner(array)) for array in arrays}

    def take(self, given: _Array) -> _Array:
        """Return a view of an array, or a copy if it is one of the optimizer's own, which are written in turn."""
        self._pins += pinned([given])
        array = given.view(np.ndarray)
        return array.copy(order="K") if id(_owner(array)) in self._own else array


def _owner(array: Any) -> Any:
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _checked_array(given: Any, own: _Array, what: str, held: _Held) -> tuple[_Array, _Array]:
    """Return the own array and its new values, which nothing else can change, as `Plan.restore` takes them."""
    if not isinstance(given, np.ndarray):
        raise TypeError(f"{what} is a {type(given).__name__}; expected a NumPy array")
    given = held.take(given)
    if given.shape != own.shape:
        raise ValueError(f"{what} has shape {given.shape}; expected {own.shape}")
    if given.dtype != own.dtype:
        raise TypeError(f"{what} has dtype {given.dtype}; expected {own.dtype}")
    if not own.flags.writeable:
        raise TypeError(f"{what} is read-only in the optimizer; expected an array that can be written in place")
    return own.view(np.ndarray), given


def _checked_steps(given: Any, own: _Array, held: _Held) -> tuple[_Array, _Array]:
    checked = _checked_array(given, own, "steps", held)
    if (checked[1] < 0).any():
        raise ValueError(f"steps has {checked[1].min()}; expected counts of 0 or more")
    return checked


def _checked_arrays(given: Any, own: Any, held: _Held) -> list[tuple[_Array, _Array]]:
    if isinstance(own, dict):
        check_names(given, own, "state of the parameters")
    else:
        _check_list(given, own, "state of the parameters")
    checked = []
    for name, arrays in by_name(own):
        what = f"state of params[{name!r}]"
        check_names(given[name], arrays, what)
        checked += [
            _checked_array(given[name][kind], array, f"{kind} in {what}", held) for kind, array in arrays.items()
        ]
    return checked


def _checked_groups(given: Any, own: list[dict[str, Any]], groups: list[Group]) -> list[dict[str, Any]]:
    """Return the new hyperparameters of each group."""
    _check_list(given, own, "groups")
    for number, (theirs, ours) in enumerate(zip(given, own, strict=True)):
        check_names(theirs, ours, f"group {number}")
        for what in ("names", "shapes", "dtypes"):
            _check_list(theirs[what], ours[what], f"{what} of group {number}")
            for name, their, our in zip(ours["names"], theirs[what], ours[what], strict=True):
                if their != our:
                    raise ValueError(
                        f"{what} of group {number} has {brief(their)} for params[{name!r}]; expected {brief(our)}"
                    )
        check_names(theirs["hyperparameters"], ours["hyperparameters"], f"hyperparameters of group {number}")
    return [_merged(theirs["hyperparameters"], group) for theirs, group in zip(given, groups, strict=True)]


def _merged(given: Mapping[str, Any], group: Group) -> dict[str, Any]:
    """Return the new hyperparameters of a group: the given ones, but its own lr if a function was stored."""
    values = group.hyperparameters
    for name, value in given.items():
        if not (value is None or isinstance(value, (bool, int, float, str))):
            raise TypeError(f"{name} is {brief(value)}, a {type(value).__name__}; expected a plain number, str or None")
        if isinstance(value, bool) != isinstance(plain(values[name]), bool):
            raise TypeError(f"{name} is {brief(value)}; expected something like {values[name]!r}")
        if not (name == "lr" and value is None):
            values[name] = value
    return values


def _checked_options(given: Mapping[str, Any], own: dict[str, Any]) -> tuple[int | None, float | None]:
    """Return the new seed and ema_decay."""
    if given["master_weights"] is not own["master_weights"]:
        raise ValueError(f"master_weights is {brief(given['master_weights'])}; expected {own['master_weights']}")
    for name in ("stochastic_rounding", "ema_decay"):
        if (given[name] is None) != (own[name] is None):
            wanted = "None" if own[name] is None else f"a number, because the optimizer's is {own[name]}"
            raise ValueError(f"{name} is {brief(given[name])}; expected {wanted}")
    seed, decay = given["stochastic_rounding"], given["ema_decay"]
    return None if seed is None else seed_from(seed), None if decay is None else _ema_decay(decay)[0]


def _checked_products(given: Any, counts: list[int]) -> list[float]:
    _check_list(given, counts, "mu_products")
    for product, count in zip(given, counts, strict=True):
        if not isinstance(product, float):
            raise TypeError(f"mu_products has {brief(product)}, a {type(product).__name__}; expected a float")
        if not (0.0 <= product < 1.0 if count else product == 1.0):
            expected = "a number from 0 to below 1" if count else "1.0"
            raise ValueError(f"mu_products has {product} for a parameter with {count} updates; expected {expected}")
    return list(given)


def _try(optimizer: Optimizer, hyperparameters: list[dict[str, Any]], steps: np.ndarray[Any, Any]) -> None:
    """Raise the error that the next step would raise for these hyperparameters; an lr function is not called."""
    trial: Any = object.__new__(type(optimizer))  # an optimizer cannot be copied
    vars(trial).update(vars(optimizer))
    vars(trial).pop("_products", None)
    vars(trial)["groups"] = [
        Group(group.params, group.names, {name: 0.0 if callable(value) else value for name, value in values.items()})
        for group, values in zip(optimizer.groups, hyperparameters, strict=True)
    ]
    states, first = [arrays for _, arrays in by_name(optimizer._state)], 0
    for number, group in enumerate(trial.groups):
        mine = slice(first, first + len(group.params))
        first = mine.stop
        for count in set(steps[mine].tolist()) or {0}:
            update, values = trial.choose(number, count + 1, 1.0)
            update.prepare(values)
            for name, arrays in zip(group.names, states[mine], strict=True):
                kinds = tuple(kind for kind in arrays if kind not in OF_OPTIONS)
                if kinds != update.arrays[2:]:
                    raise ValueError(
                        f"the hyperparameters of group {number} need {', '.join(update.arrays[2:]) or 'no state'}; "
                        f"expected {', '.join(kinds) or 'none'}, which params[{name!r}] has"
                    )
