"""Promises 3, 4, 6 and 11: huge arrays, subnormals, NaN and infinity, memory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastopt
from tests.cases import CASES
from tests.support import assert_same_bits, copies, run_python


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_nonfinite_gradient_reaches_only_its_element(case, value):
    for size in (50, 2000):
        clean = case.make_arrays(size)
        touched = copies(clean)
        touched["grad"][[0, 17, size - 1]] = value
        grad = touched["grad"].copy()
        case.run(clean, 3)
        case.run(touched, 3)
        others = np.delete(np.arange(size), [0, 17, size - 1])
        assert_same_bits(*({name: arrays[name][others] for name in case.written} for arrays in (touched, clean)))
        np.testing.assert_array_equal(touched["grad"], grad)
        if np.isnan(value):
            assert np.isnan(touched[case.target][[0, 17, size - 1]]).all()


@pytest.mark.parametrize("tiny", [1e-40, 1e-45])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_zero_gradients_leave_no_subnormals_to_slow_the_processor(case, tiny):
    """Benchmarks time 10,000 steps; here, that what makes steps slow does not arise, and goes if it was there."""
    for preset in (False, True):
        arrays = case.make_arrays(100)
        if preset:
            for name in case.state:
                arrays[name][:] = tiny
        arrays["grad"][:] = 0
        for step in range(1, 1200 if not preset else 3):
            case.run(arrays, step)
        for name in case.state:
            subnormal = (np.abs(arrays[name]) < np.finfo("f4").tiny) & (arrays[name] != 0)
            assert not subnormal.any(), name


@pytest.mark.ci
@pytest.mark.parametrize("layout", ["contiguous", "strided", "bfloat16"])
def test_a_step_allocates_nothing_that_grows(layout):
    """Over 10 million elements: nothing in Python's or NumPy's books, and the process grows by less than a megabyte."""
    program = f"""
import numpy as np, ml_dtypes, fastopt
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
make = {{
    "contiguous": lambda: np.ones(10_000_000, "f4"),
    "strided": lambda: np.ones(20_000_000, "f4")[::2],
    "bfloat16": lambda: np.ones(10_000_000, ml_dtypes.bfloat16),
}}[{layout!r}]
arrays = [make() for _ in range(4)]
fastopt.adamw(*(x[:1000] for x in arrays), step=1)
fastopt.adamw(*arrays, step=1)
before = resident()
for step in range(2, 5):
    fastopt.adamw(*arrays, step=step)
print(resident() - before)
"""
    assert int(run_python(program)) < 1 << 20


@pytest.mark.ci
@pytest.mark.parametrize("dtype", ["float32", "float64", ml_dtypes.bfloat16], ids=str)
def test_more_than_two_to_the_31_elements(dtype):
    """The last of 2^31 + 5 elements is updated: as runs of the compute type, as 16-bit blocks, and backwards."""
    size = 2**31 + 5
    with repeated_memory(size, dtype) as param, repeated_memory(size, dtype) as grad:
        grad[-3:] = -1
        fastopt.sgd(param, grad, lr=1.0)
        assert list(param[-4:]) == [0, 1, 1, 1]
        fastopt.sgd(param[::-1], grad[::-1], lr=1.0)
        assert list(param[-4:]) == [0, 2, 2, 2]


@contextmanager
def repeated_memory(size: int, dtype: Any) -> Iterator[np.ndarray]:
    """An array with real addresses whose memory is one 64 MB file, mapped again and again; its end has its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    piece = 1 << 26
    total = -(-size * np.dtype(dtype).itemsize // piece) * piece
    read_write, shared_fixed, private_anonymous_unreserved = 3, 0x11, 0x4022
    start = libc.mmap(None, total, read_write, private_anonymous_unreserved, -1, 0)
    assert start not in (None, ctypes.c_void_p(-1).value)
    file = os.memfd_create("repeated")
    try:
        os.ftruncate(file, 2 * piece)
        for offset in range(0, total, piece):
            part = piece if offset == total - piece else 0
            assert libc.mmap(start + offset, piece, read_write, shared_fixed, file, part) == start + offset
        yield np.frombuffer((ctypes.c_char * total).from_address(start), np.uint8)[
            : size * np.dtype(dtype).itemsize
        ].view(dtype)
    finally:
        os.close(file)
        libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(total))
