"""Writes the parts of CUDA kernels that find elements: from an index over some axes to a place in each array.

Axes of one kind go by a letter: those of rows ``r0``, ``r1``, ..., the innermost last, those along a row ``w0``, ...
Every array has a stride along each, 0 where it does not vary. What a kernel is given, it is given by these names:

* ``extent_r1``, ...: how many indices there are along an axis; of the outermost, nobody asks;
* ``x_start``: where element 0 of array x stands; ``x_r0``, ``x_w0``, ...: its strides, modulo 2^64;
* ``digit_w1``, ...: a step along the row, axis by axis; ``x_step``: how far it goes in x, while no axis ends;
  ``x_carry1``, ...: how much farther where that axis ends.
"""

from __future__ import annotations

from collections.abc import Sequence


def extents(letter: str, axes: int) -> list[str]:
    """The names of the extents that a kernel needs."""
    return [f"extent_{letter}{axis}" for axis in range(1, axes)]


def strides(array: str, letter: str, axes: int) -> list[str]:
    """The names of an array's strides."""
    return [f"{array}_{letter}{axis}" for axis in range(axes)]


def digits(axes: int) -> list[str]:
    """The names of a step's parts."""
    return [f"digit_w{axis}" for axis in range(axes)] if axes > 1 else []


def steps(array: str, axes: int) -> list[str]:
    """The names of what a step does to an array's place."""
    return [f"{array}_step", *(f"{array}_carry{axis}" for axis in range(1, axes))]


def find(index: str, letter: str, axes: int, places: Sequence[tuple[str, str, str]]) -> list[str]:
    """Lines that work out places: of each array, its name, the variable, and from where strides are counted.

    They leave the index along each axis in a variable of the axis's name.
    """
    lines = [f"{letter}0 = {index}"]
    for axis in range(axes - 1, 0, -1):
        lines += [f"{letter}{axis} = {letter}0 % extent_{letter}{axis}"]
        lines += [f"{letter}0 = {letter}0 // extent_{letter}{axis}"]
    for array, place, start in places:
        moved = [f"{letter}{axis} * {stride}" for axis, stride in enumerate(strides(array, letter, axes))]
        lines += [f"{place} = {' + '.join([start, *moved])}"]
    return lines


def advance(axes: int, arrays: Sequence[str]) -> list[str]:
    """Lines that make a step along the row: no division, for a step has as many digits as there are axes."""
    lines = [f"{array}_at += {array}_step" for array in arrays]
    if axes == 1:
        return lines
    for axis in range(axes - 1, 0, -1):
        lines += [f"w{axis} += digit_w{axis}", f"if w{axis} >= extent_w{axis}:"]
        lines += [f"    w{axis} -= extent_w{axis}", f"    w{axis - 1} += single"]
        lines += [f"    {array}_at += {array}_carry{axis}" for array in arrays]
    return lines
