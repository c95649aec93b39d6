"""Calls of the CUDA driver for norms, recorded by a mock: no reads, copies or synchronisation."""

from __future__ import annotations

import struct

import pytest

from tests.peers import peer
from tests.support import parts_told

peer("numba_cuda")

PROGRAM = """
import fastopt
from tests.cuda.support import Nowhere
x, y, dy = (Nowhere(0x10000000 * i, (2, 3, 8)) for i in (1, 2, 3))
weight, bias, mean, rstd, running_mean, running_var = (Nowhere(0x1000 * i, (3,)) for i in range(1, 7))
for _ in range(2):
    fastopt.batch_norm_forward(x, weight, bias, running_mean, running_var, out=(y, mean, rstd), stream=5)
    print("--")
fastopt.batch_norm_backward(dy, x, weight, mean, rstd, out=y, stream=7)
print("--")
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the stand-in says of the program's parts."""
    return parts_told(PROGRAM, tmp_path_factory.mktemp("driver"), "push", "pop")


def test_scratch_memory_comes_and_goes_with_the_stream(told):
    kinds = [line.split()[0] for line in told[1]]
    assert kinds == ["allocate", *["launch"] * 5, "free"]
    assert all(" on 5" in line for line in told[1])


def test_kernels_are_loaded_once(told):
    assert sum(line.startswith("load ELF") for line in told[0]) == 5
    assert not any(line.startswith("load") for line in told[1])


def test_results_that_are_not_given_are_allocated_in_the_stream(told):
    kinds = [line.split()[0] for line in told[2]]
    assert kinds.count("allocate") == kinds.count("free") == 3  # dweight, dbias, scratch
    assert kinds.count("launch") == 4
    assert all(" on 7" in line for line in told[2] if not line.startswith(("load", "kernel")))


def test_parameters_stand_as_the_kernel_takes_them(told):
    (*_, elements) = (line for line in told[1] if line.startswith("launch"))
    grid, _, parameters = elements.removeprefix("launch ").partition(": ")
    assert grid == "1 x 256 on 5"
    words = struct.unpack(f"={len(parameters) // 16}Q", bytes.fromhex(parameters))
    x, y, rounded, scale, shift, weight, bias, units, chunks, width, columns, extent, *_ = words
    assert (x, y, weight, bias) == (0x10000000, 0x20000000, 0x1000, 0x2000)
    assert scale - rounded == shift - scale == 256
    assert (units, chunks, width, columns, extent) == (6, 1, 2, 8, 3)
