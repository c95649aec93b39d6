"""Rules of users on device arrays: the bits of the host."""

from __future__ import annotations

import math

import numpy as np

import fastopt
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
