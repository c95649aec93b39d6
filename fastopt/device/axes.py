"""Axes shared by several arrays, and the parameters by which kernels find elements along them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import NamedTuple, TypeAlias

from fastopt.device.machine import Argument
from fastopt.device.select import machine
from fastopt.specs.dtypes import SIZES

#: Negative numbers are passed to kernels modulo this.
ADDRESSES = 1 << 64

#: For each array that varies along an axis, its stride in elements.
Strides: TypeAlias = Mapping[str, int]


class Axis(NamedTuple):
    """An axis: its extent and each array's stride."""

    extent: int
    strides: Strides

    def stride(self, array: str) -> int:
        """Return an array's stride."""
        return self.strides.get(array, 0)


def merged(axes: Iterable[Axis], arrays: Sequence[str]) -> list[Axis]:
    """Merge neighbouring axes where all arrays allow it; at least one axis remains."""
    kept: list[Axis] = []
    for axis in axes:
        if axis.extent == 1:
            continue
        if kept and all(kept[-1].stride(each) == axis.stride(each) * axis.extent for each in arrays):
            kept[-1] = Axis(kept[-1].extent * axis.extent, axis.strides)
        else:
            kept.append(axis)
    return kept or [Axis(1, {})]


def count(axes: Iterable[Axis]) -> int:
    """Return the number of elements."""
    return prod(axis.extent for axis in axes)


def reach(shape: Iterable[int], strides: Iterable[int]) -> tuple[int, int]:
    """Return the distance from an array's lowest element to element 0, and the elements of its whole range."""
    ends = [(extent - 1) * stride for extent, stride in zip(shape, strides, strict=True)]
    below = -sum(min(0, end) for end in ends)
    return below, below + sum(max(0, end) for end in ends) + 1


def pointer_to(address: int, storage: str, shape: Iterable[int], strides: Iterable[int]) -> tuple[Argument, int]:
    """Return a kernel's pointer to an array's lowest element, and the position of element 0 relative to it."""
    below, places = reach(shape, strides)
    return machine().pointer(address - below * SIZES[storage], storage, places), below


def row_major(axes: Sequence[Axis], name: str) -> list[Axis]:
    """Return the axes with one more array: the elements' positions in order."""
    step, reversed_axes = 1, []
    for axis in reversed(axes):
        reversed_axes.append(Axis(axis.extent, {**axis.strides, name: step}))
        step *= axis.extent
    return reversed_axes[::-1]


def words_of(letter: str, axes: Sequence[Axis], arrays: Sequence[str], step: int = 0) -> dict[str, int]:
    """Return the kernel arguments for axes of one kind, with the names of `fastopt.codegen.cuda.places`."""
    words = {f"extent_{letter}{k}": axis.extent for k, axis in enumerate(axes)}
    for each in arrays:
        words.update({f"{each}_{letter}{k}": axis.stride(each) for k, axis in enumerate(axes)})
    if not step:
        return words
    digits = [step] * len(axes)  # of a step of this many elements, axis by axis
    for k in range(len(axes) - 1, 0, -1):
        digits[k - 1], digits[k] = divmod(digits[k], axes[k].extent)
    words.update({f"digit_w{k}": digit for k, digit in enumerate(digits)})
    for each in arrays:
        words[f"{each}_step"] = sum(digit * axis.stride(each) for digit, axis in zip(digits, axes, strict=True))
        for k in range(1, len(axes)):
            words[f"{each}_carry{k}"] = axes[k - 1].stride(each) - axes[k].extent * axes[k].stride(each)
    return words
