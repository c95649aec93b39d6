"""Number of inputs of a unit and number of units per input, from the shape of a weight."""

from __future__ import annotations

from math import prod
from typing import Literal, SupportsIndex, TypeAlias

from fastopt.common.types import Array
from fastopt.engine.core.hyperparameters import whole
from fastopt.engine.core.intake import as_numpy
from fastopt.engine.core.options import one_of

#: The input and output axes of a weight: PyTorch's order, or Keras'.
Layout: TypeAlias = Literal["torch", "keras"]


def fans(param: Array, layout: Layout, fan_in: SupportsIndex | None, fan_out: SupportsIndex | None) -> tuple[int, int]:
    """Return fan_in and fan_out: the given values, or else those of param's shape."""
    one_of("layout", layout, "torch", "keras")
    given = [
        None if fan is None else whole(name, fan, "None or a whole number, 1 or more")
        for name, fan in (("fan_in", fan_in), ("fan_out", fan_out))
    ]
    shape = as_numpy(param, "param")[0].shape
    if given[0] is not None and given[1] is not None:
        return given[0], given[1]
    if 0 in shape:
        return 1, 1
    if len(shape) < 2:
        missing = "fan_in" if given[0] is None else "fan_out"
        raise ValueError(f"param has shape {shape}; expected two axes or more, or {missing} to be given")
    kernel, inputs, outputs = (shape[2:], shape[1], shape[0]) if layout == "torch" else (shape[:-2], *shape[-2:])
    found = (inputs * prod(kernel), outputs * prod(kernel))
    return given[0] or found[0], given[1] or found[1]


def fan_in_of(param: Array, layout: Layout, fan_in: SupportsIndex | None) -> int:
    """Return fan_in: the given value, or else that of param's shape."""
    return fans(param, layout, fan_in, None if fan_in is None else 1)[0]
