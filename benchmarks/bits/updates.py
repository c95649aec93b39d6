"""Random calls of updates of one tensor."""

from __future__ import annotations

import inspect
from typing import Any

import fastopt
from benchmarks.bits.call import Call, Options, calls_of
from benchmarks.bits.inputs import Inputs, array_names, hyperparameters

#: Nonnegative state
POSITIVE = {"v", "v_max", "u", "s", "n", "square_sum", "square_avg", "delta_avg", "step_size"}


def update_calls() -> list[Call]:
    """Return calls of every function of an array and its gradient."""
    functions = [name for name in fastopt.__all__ if inspect.isroutine(getattr(fastopt, name))]
    updates = [name for name in functions if list(array_names(getattr(fastopt, name)))[1:2] == ["grad"]]
    return [call for name in updates for call in calls_of(name, 50, lambda *given, name=name: update(name, *given))]


def update(name: str, inputs: Inputs, options: Options) -> Any:
    """Call an update, with a random choice of optional arrays."""
    function, shape = getattr(fastopt, name), inputs.shape()
    arrays = {
        array: inputs.array(array, shape, positive=array in POSITIVE)
        for array, optional in array_names(function).items()
        if not (optional and inputs.chance(f"no {array}"))
    }
    numbers = hyperparameters(function, inputs)
    if name == "rmsprop" and "velocity" not in arrays:
        numbers.pop("momentum", None)
    if numbers.get("nesterov") or numbers.get("form", "sum") != "sum":
        numbers.pop("dampening", None)
    return function(**arrays, **numbers, **options)
