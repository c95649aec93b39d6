"""Generates the parts of CUDA kernels that find elements: from an index over some axes to a position in each array.

Axes of one kind share a letter: those of rows are ``r0``, ``r1``, ..., the innermost last; those along a row ``w0``,
... Every array has a stride along each, which is 0 if it does not vary. A kernel's arguments have these names:

* ``extent_r1``, ...: the extent of an axis; that of the outermost is not needed;
* ``x_start``: the position of element 0 of array x; ``x_r0``, ``x_w0``, ...: its strides, modulo 2^64;
* ``digit_w1``, ...: a step along the row, axis by axis; ``x_step``: its distance in x if no axis wraps around;
  ``x_carry1``, ...: the additional distance if that axis wraps around.
"""

from __future__ import annotations

from collections.abc import Sequence


def extents(letter: str, axes: int) -> list[str]:
    """Return the names of the extents that a kernel needs."""
    return [f"extent_{letter}{axis}" for axis in range(1, axes)]


def strides(array: str, letter: str, axes: int) -> list[str]:
    """Return the names of an array's strides."""
    return [f"{array}_{letter}{axis}" for axis in range(axes)]


def digits(axes: int) -> list[str]:
    """Return the names of a step's digits."""
    return [f"digit_w{axis}" for axis in range(axes)] if axes > 1 else []


def steps(array: str, axes: int) -> list[str]:
    """Return the names of a step's distances in an array."""
    return [f"{array}_step", *(f"{array}_carry{axis}" for axis in range(1, axes))]


def find(index: str, letter: str, axes: int, places: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return lines that compute positions; ``arrays`` holds an array's name, the variable, and the base of its strides.

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
    """Return lines that make a step along the row, without division: a step has one digit per axis."""
    lines = [f"{array}_at += {array}_step" for array in arrays]
    if axes == 1:
        return lines
    for axis in range(axes - 1, 0, -1):
        lines += [f"w{axis} += digit_w{axis}", f"if w{axis} >= extent_w{axis}:"]
        lines += [f"    w{axis} -= extent_w{axis}", f"    w{axis - 1} += single"]
        lines += [f"    {array}_at += {array}_carry{axis}" for array in arrays]
    return lines
