"""A rule that calls every function available to rules, and its result in plain NumPy."""

from __future__ import annotations

import numpy as np

import fastopt
from fastopt.primitives import fabs, gate, relu, sign, sqrt


@fastopt.rule
def of_every_function(param, grad, fabs_of, gate_of, relu_of, sign_of, sqrt_of, /):
    return param, fabs(grad), gate(grad, param), relu(grad), sign(grad), sqrt(grad * grad)


def given(dtype, count=40):
    """Values of both signs, zeros, infinities and NaN in grad; param is another order of them."""
    values = np.resize(np.array([1.5, -2.25, 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-3, -7.0], dtype), count)
    return [values[::-1].copy(), values, *(np.full(count, 9, dtype) for _ in range(5))]


def wanted(dtype):
    param, grad = given(dtype)[:2]
    with np.errstate(invalid="ignore"):
        return {
            "fabs_of": np.abs(grad),
            "gate_of": np.where(param <= 0, dtype(0), grad),
            "relu_of": np.where(grad <= 0, dtype(0), grad),
            "sign_of": np.sign(grad),
            "sqrt_of": np.sqrt(grad * grad),
        }


def check(dtype, backend=None, place=lambda array: array):
    """Run the rule, on arrays as ``place`` makes them, and compare all values with NumPy's."""
    arrays = given(dtype)
    of_every_function(*map(place, arrays), backend=backend)
    got = dict(zip(of_every_function.arrays, arrays, strict=True))
    for name, values in wanted(dtype).items():
        np.testing.assert_array_equal(got[name], values, err_msg=f"{name}, {np.dtype(dtype)}")
