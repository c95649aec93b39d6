"""Device functions in a user's kernel: the same bits as on the host."""

from __future__ import annotations

import doctest
import inspect

import numpy as np
import pytest

import fastopt.numba
from fastopt.numba.device import RULES, called
from tests.cases import CASES
from tests.support import assert_same_bits, copies, users_kernel


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bits(case, dtype):
    for number in (1, 7):
        arrays = case.make_arrays(9, dtype)
        wanted = copies(arrays)
        case.run(wanted, number)
        parameters = inspect.signature(case.update).parameters.values()
        optional = {each.name: True for each in parameters if each.name in case.state and each.default is None}
        options = {**case.hyperparameters(number), **optional}
        update, _ = called(case.update, dict(options))
        kernel = users_kernel(getattr(fastopt.numba.cuda, update.rule.__name__), update.arrays)
        scalars = fastopt.numba.cuda.coefficients(case.update, dtype, **options)
        assert {type(scalar) for scalar in scalars} == {np.dtype(dtype).type}
        kernel[2, 4](*(arrays[name] for name in update.arrays), scalars)
        assert_same_bits(arrays, wanted, f"{case.name}, step {number}")


def test_example():
    (test,) = doctest.DocTestFinder(recurse=False).find(fastopt.numba.cuda.coefficients, "coefficients", globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_every_rule_is_there():
    assert set(fastopt.numba.cuda.__all__) == {"coefficients", *RULES}
    for rule in RULES:
        assert callable(getattr(fastopt.numba.cuda, rule))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"step": 0}, ValueError, "step is 0; expected a whole number"),
        ({"step": 1, "lr": 1e39}, ValueError, "a coefficient becomes infinite in float32"),
        ({"step": 1, "rate": 1}, TypeError, "rate"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        fastopt.numba.cuda.coefficients(fastopt.adam, "float32", **options)
