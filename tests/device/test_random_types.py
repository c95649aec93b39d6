"""The text of the CUDA kernels of random bits, compiled by Numba for the host: the simulator knows nothing of types.

What is the device's own is left out: its products, and fours of elements.
"""

from __future__ import annotations

import inspect
from functools import partial

import numba
import numpy as np
import pytest
from numba.extending import intrinsic

from fastopt import augment, dropout_forward
from fastopt.backends.numba.typed import reinterpretation
from fastopt.codegen.cuda.kernel import NUMBERS
from fastopt.codegen.cuda.random import Random
from fastopt.codegen.cuda.update import LINEAR
from fastopt.codegen.random import random_rules_of
from fastopt.coefficients import random as random_scalars
from fastopt.reference.random import DROPOUT, INITIAL, INITIAL_MORE, NOISE, NOISE_MORE
from fastopt.rules import random as random_rules
from tests.peers import peer
from tests.random.test_random import FILLS, KEY
from tests.support import assert_same_bits

peer("numba_cuda")
cuda = peer("fastopt.backends.cuda")

ROWS, COLUMNS = 5, 7

compiled = numba.njit(error_model="numpy")

#: Where a single thread is, which does all the work.
THREAD = {
    "cuda.blockIdx.x": "none",
    "cuda.threadIdx.x": "none",
    "cuda.blockDim.x": "single",
    "cuda.gridDim.x": "single",
}


@compiled
def product(a, b):
    return np.uint64(a) * np.uint64(b)


@compiled
def load_four(array, i):
    return array[i], array[i], array[i], array[i]


@compiled
def store_four(array, i, a, b, c, d):
    array[i] = a


@pytest.fixture
def kernel_of(monkeypatch):
    """Makes functions of kernels' texts."""
    random = cuda.cuda_random
    monkeypatch.setattr(random, "inlined", numba.njit(inline="always", error_model="numpy"))
    monkeypatch.setattr(random, "reinterpretation", partial(reinterpretation, intrinsic))
    monkeypatch.setattr(random, "_product", lambda: product)

    def make(rule, dtype, axes):
        function = random_rules_of(inspect.getsource(random_rules), dtype)[rule]
        kernel = Random(function, (dtype,) * (2 if "noise" in rule or rule == "dropout" else 1), dtype, axes)
        text = kernel.text()
        for there, here in THREAD.items():
            text = text.replace(there, here)
        draw, draw_one = random._draws()
        names = {name: np.uint64(each) for name, each in {**NUMBERS, **kernel.numbers}.items() if isinstance(each, int)}
        names.update(random.primitives(dtype), draw=draw, draw_one=draw_one, index=np.uint64, min=min)
        names.update(load_four=load_four, store_four=store_four)
        exec(text, names)
        return compiled(names["kernel"])

    return make


def run(kernel, arrays, axes, purposes, scalars, dtype):
    """Run it over one array, or two, of which the last is written: a matrix, transposed in memory if it is walked."""
    count = ROWS * COLUMNS
    sizes = [count, -(-count // 4), 0] if axes == LINEAR else [count, ROWS, 1, COLUMNS, *[0, ROWS, 1] * len(arrays)]
    tweaks = [KEY["offset"] | purpose << 56 for purpose in purposes]
    kernel(*arrays, *map(np.uint64, (*sizes, KEY["seed"], *tweaks)), *map(np.dtype(dtype).type, scalars))


@pytest.mark.parametrize("axes", [LINEAR, 2], ids=["linear", "strided"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fill", ["normal", "uniform"])
def test_fills_have_the_bits_of_the_host(kernel_of, fill, dtype, axes):
    numbers = {"normal": (0.5, 2.0), "uniform": (-0.5, 2.0)}[fill]
    scalars = getattr(random_scalars, fill)(dtype, *numbers)
    wanted, got = np.zeros((ROWS, COLUMNS), dtype), np.zeros(ROWS * COLUMNS, dtype)
    FILLS[fill](wanted, **KEY)
    purposes = (INITIAL, INITIAL_MORE)[: 1 + (dtype == "float64")]
    run(kernel_of(f"{fill}_{dtype}", dtype, axes), [got], axes, purposes, scalars, dtype)
    assert_same_bits({"param": got}, {"param": wanted.reshape(-1, order="C" if axes == LINEAR else "F")})


@pytest.mark.parametrize("axes", [LINEAR, 2], ids=["linear", "strided"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["noise", "uniform_noise"])
def test_noise_has_the_bits_of_the_host(kernel_of, name, dtype, axes):
    x = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(dtype)
    order = "C" if axes == LINEAR else "F"
    got = x.reshape(-1, order=order).copy()
    augment.noise_(x, std=0.5, uniform=name == "uniform_noise", **KEY)
    purposes = (NOISE, NOISE_MORE)[: 1 + (dtype == "float64")]
    scalars = getattr(random_scalars, name)(dtype, 0.5)
    run(kernel_of(f"{name}_{dtype}", dtype, axes), [got, got], axes, purposes, scalars, dtype)
    assert_same_bits({"x": got}, {"x": x.reshape(-1, order=order)})


@pytest.mark.parametrize("axes", [LINEAR, 2], ids=["linear", "strided"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_has_the_bits_of_the_host(kernel_of, dtype, axes):
    x = np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(dtype)
    order = "C" if axes == LINEAR else "F"
    got = np.zeros(x.size, dtype)
    scalars = random_scalars.dropout(dtype, 0.3, 1 / 0.7)
    run(kernel_of("dropout", dtype, axes), [x.reshape(-1, order=order), got], axes, (DROPOUT,), scalars, dtype)
    assert_same_bits({"y": got}, {"y": dropout_forward(x, p=0.3, **KEY).reshape(-1, order=order)})
