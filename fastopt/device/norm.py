"""Runs norms of device arrays: puts the kernels of a checked call into a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastopt.device.arrays import new
from fastopt.device.norm_axes import LAYER, Given, Norm
from fastopt.device.norm_plan import plan
from fastopt.device.ordering import joined
from fastopt.device.select import machine
from fastopt.engine.core.devices import View
from fastopt.engine.core.exchange import wrote

__all__ = ["LAYER", "Numbers", "Result", "run"]


class Result(NamedTuple):
    """A result of a call: the caller's array or None, and its shape (None: the shape of x)."""

    name: str
    given: Any
    shape: tuple[int, ...] | None


class Numbers(NamedTuple):
    """The hyperparameters in float64, and the largest finite number of each running statistic's dtype."""

    eps: float
    momentum: float = 0.0
    unbiased: bool = True
    largest_mean: float = 0.0
    largest_var: float = 0.0


#: The smallest normal number of each compute type, the lower bound of variance + eps.
LEAST = {"float32": 2.0**-126, "float64": 2.0**-1022}


def run(
    direction: str, variant: int, dtype: str, labels: tuple[str, ...], groups: int, views: dict[str, View],
    x: Any, given: Sequence[Any], results: Sequence[Result], numbers: Numbers, device: int, stream: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """Put the kernels of one call into the stream; return its results immediately, without synchronising.

    ``given`` holds the caller's arrays, ``views`` their locations, with x (or dy, if there is no x) first.
    """
    like = next(iter(views.values()))
    with joined([array for array in given if array is not None], device, stream) as handle:
        returned = []
        for result in results:
            array = result.given
            if array is None:
                array, views[result.name] = _made(result, x, like, dtype, device, handle)
            returned.append(array)
        arrays = tuple(Given(name, view.storage, view.shape, view.strides) for name, view in views.items())
        _launch(
            Norm(direction, variant, dtype, labels, groups, arrays, device, numbers.unbiased), views, numbers, handle
        )
    wrote([result.given for result in results if result.given is not None])
    return tuple(returned)


def _made(result: Result, x: Any, like: View, dtype: str, device: int, stream: int) -> tuple[Any, View]:
    """Return a new array: of x's shape, dtype and memory order, or of values in the compute type."""
    name = {"out": "y"}.get(result.name, result.name)
    if result.shape is None:
        return new(x, name, like.storage, like.shape, like.strides, device, stream)
    axes = range(len(result.shape), 0, -1)
    return new(x, name, dtype, result.shape, tuple(axes), device, stream)


def _launch(norm: Norm, views: Mapping[str, View], numbers: Numbers, stream: int) -> None:
    planned = plan(norm)
    values = planned.values
    scalars = {
        "per_value": 1 / values if values else 0.0,
        "eps": numbers.eps,
        "least": LEAST[norm.dtype],
        "momentum": numbers.momentum,
        "keep": 1 - numbers.momentum,
        "factor": values / (values - 1) if numbers.unbiased and values > 1 else 1.0,
        "largest_mean": numbers.largest_mean,
        "largest_var": numbers.largest_var,
    }
    scratch = machine().allocate(norm.device, stream, planned.scratch) if planned.scratch else None
    for launch in planned.launches:
        pointers = []
        for pointer in launch.pointers:
            begin = views[pointer.array].address if pointer.array else (scratch.address if scratch else 0)
            pointers.append(machine().pointer(begin + pointer.offset, pointer.storage, pointer.elements))
        numbers_given = [scalars[name] for name in launch.scalars]
        machine().launch(
            launch.kernel, norm.device, stream, launch.blocks, launch.threads,
            [*pointers, *launch.words, *numbers_given],
        )  # fmt: skip
