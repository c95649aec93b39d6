"""Users' rules on device arrays: the same bits as on the host."""

from __future__ import annotations

import math

import numpy as np

import fastopt
from tests import every_function
from tests.cuda.support import OnDevice
from tests.support import assert_same_bits


@fastopt.rule
def scaled(param, grad, m, /, lr, beta=0.9, weight_decay=0.01):
    m = beta * m + (1 - beta) * grad
    size = abs(m) if grad > 0 else 0.25
    return param - lr * (m / (math.sqrt(size) + 1e-3) + weight_decay * param), m


def test_a_users_rule_has_the_bits_of_the_host():
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64", "float16"):
        for shape in ((37,), (5, 4)):
            host = {name: rng.standard_normal(shape).astype(dtype) for name in ("param", "grad", "m")}
            device = {name: array.copy() for name, array in host.items()}
            for _ in range(2):
                scaled(*host.values(), lr=0.1, grad_scale=0.5)
                scaled(*(OnDevice(array) for array in device.values()), lr=0.1, grad_scale=0.5)
            assert_same_bits(device, host, dtype)


def test_every_function_computes_what_numpy_does():
    for dtype in (np.float32, np.float64):
        every_function.check(dtype, place=OnDevice)


@fastopt.rule
def of_likely_names(param, grad, m, ms, m_0, m_at, m_i, m_start, /, min, zero=0.25, index=2.0):
    """Names that the text of a kernel has, too, or might make of others."""
    cuda = grad * min + zero
    return param - cuda, m + cuda, ms - cuda, m_0 + index, m_at - index, m_i * index, m_start + m


def test_no_name_of_a_rule_is_taken_for_one_of_the_kernels():
    values = np.random.default_rng(0).standard_normal((8, 2, 3))
    host, device = list(values.copy()), list(values.copy())
    scattered = [np.zeros((3, 2)).T for _ in values]  # of two axes, for a kernel of its own
    for array, given in zip(scattered, values, strict=True):
        array[...] = given
    of_likely_names(*host, min=0.5)
    of_likely_names(*map(OnDevice, device), min=0.5)
    scattered[0] = np.ascontiguousarray(scattered[0])
    of_likely_names(*map(OnDevice, scattered), min=0.5)
    for got in (device, scattered):
        assert_same_bits(dict(enumerate(got)), dict(enumerate(host)))
