"""Updates called in functions that Numba compiles: the bits of the public functions, and their refusals."""

from __future__ import annotations

import numba
import numpy as np
import pytest

import fastopt
import fastopt.numba
from tests.cases import BY_NAME, CASES
from tests.support import assert_same_bits, copies, f_order, reversed_axes, sliced

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def njit_of(case, *names, **options):
    """A user's function that calls a case's update with these hyperparameters, for each of the arrays that it is given."""
    keywords = ", ".join(f"{name}={name}" for name in names)
    variant = case.arrays
    if case.update is fastopt.rmsprop and "velocity" in case.state and "grad_avg" not in case.state:
        variant = (*case.arrays[:-1], "None", "velocity")
    text = f"def step({', '.join([*case.arrays, *names])}):\n    update({', '.join([*variant, keywords])})\n"
    names = {"update": getattr(fastopt.numba, case.update.__name__)}
    exec(text, names)
    return numba.njit(**options)(names["step"])


@every_case
def test_bits(case):
    """Several float32 arrays as one run, float64 arrays of different strides; what is left out is as in Python."""
    step = njit_of(case, *case.hyperparameters(1))
    for number, dtype, layouts in ((1, "float32", [np.copy]), (3, "float64", [np.copy, f_order, sliced, reversed_axes])):
        start = case.make_arrays((3, 37), dtype)
        arrays = {name: layouts[i % len(layouts)](array) for i, (name, array) in enumerate(start.items())}
        wanted = copies(start)
        case.run(wanted, number)
        step(*arrays.values(), *case.hyperparameters(number).values())
        assert_same_bits(arrays, wanted, f"{case.name}, {dtype}")
