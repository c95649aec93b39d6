"""Updates called in functions that Numba compiles: the bits of the public functions, and what they refuse."""

from __future__ import annotations

import inspect
import re
import typing

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

import fastopt
import fastopt.numba
from fastopt import host_scalars
from fastopt.numba.scalars import CHOICES
from fastopt.numba.runs import runs_of
from tests.cases import BY_NAME, CASES
from tests.support import assert_same_bits, bits, copies, f_order, reversed_axes, run_python, sliced

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

#: One for each way that host scalars are computed, rules that stand at the corners included: those are slow to compile.
FEW = ["sgd-decay", "momentum-nesterov", "rmsprop-centered-momentum", "rprop", "adam-amsgrad", "radam", "adan"]


def function_of(case, *given):
    """A user's function that calls a case's update: the hyperparameters that change are arguments, the others numbers."""
    changing = [*case.of_step(1), *given]
    keywords = [f"{name}={name}" for name in changing]
    keywords += [f"{name}={value!r}" for name, value in case.fixed.items() if name not in given]
    taken = [name for name in inspect.signature(case.update).parameters if name in ("grad_avg", "v_max", "velocity")]
    arrays = [*(name for name in case.arrays if name not in taken), *(name for name in taken if name in case.arrays)]
    positional = [name for name in arrays if name not in taken]
    keywords += [f"{name}={name if name in case.arrays else None}" for name in taken]
    text = f"def step({', '.join([*case.arrays, *changing])}):\n    update({', '.join([*positional, *keywords])})\n"
    names = {"update": getattr(fastopt.numba, case.update.__name__)}
    exec(text, names)
    return names["step"]


def check(case, step, shape, dtype, layouts, number):
    """One step in a compiled function, and one of the public function."""
    start = case.make_arrays(shape, dtype)
    arrays = {name: layouts[i % len(layouts)](array) for i, (name, array) in enumerate(start.items())}
    wanted = copies(start)
    case.run(wanted, number)
    step(*arrays.values(), *case.of_step(number).values())
    assert_same_bits(arrays, wanted, f"{case.name}, {dtype}, step {number}")


@every_case
def test_bits_of_float32(case):
    """Arrays that are runs; steps at which radam has two rules, and what is left out is as in Python."""
    step = numba.njit(function_of(case))
    for number in (1, 7, 2**24 + 1):
        check(case, step, (3, 37), "float32", [np.copy], number)


@pytest.mark.parametrize("name", FEW)
def test_bits_of_float64_and_of_strided_arrays(name):
    step = numba.njit(function_of(BY_NAME[name]))
    for number in (1, 7):
        check(BY_NAME[name], step, (3, 37), "float64", [np.copy, f_order, sliced, reversed_axes], number)


def test_layouts_and_types_together():
    """Each is compiled by itself: of no axes, none but F-ordered arrays, float32 and float64 arrays in one call."""
    case = BY_NAME["momentum"]
    step = numba.njit(function_of(case))
    check(case, step, (), "float32", [np.copy], 1)
    check(case, step, (3, 4), "float32", [f_order], 1)
    check(case, step, (0, 4), "float32", [np.copy], 1)
    check(case, step, 40, "float32", [sliced, np.copy], 1)
    check(case, step, 40, "float32", [np.copy, lambda x: x.astype("float64"), np.copy], 1)
