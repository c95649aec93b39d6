"""Calls of the CUDA driver for random numbers, recorded by a mock: no reads or synchronisation."""

from __future__ import annotations

import struct

import pytest

from fastopt.reference.random import DROPOUT, INITIAL, INITIAL_MORE
from tests.peers import peer
from tests.support import parts_told

peer("numba_cuda")

PROGRAM = """
from fastopt import dropout_forward, init
from tests.cuda.support import Nowhere
key = {"seed": 2**64 - 2, "offset": 2**56 - 3, "stream": 5}
param = Nowhere(0x10000000, (70000, 70001))
for _ in range(2):
    init.uniform_(param, low=-0.5, high=0.5, **key)
    print("--")
init.uniform_(Nowhere(0x10000000, (9,), "<f8"), **key)
print("--")
init.uniform_(Nowhere(0x10000004, (9,)), **key)
print("--")
init.uniform_(Nowhere(0x10000008, (9,), "<f2"), **key)
print("--")
init.uniform_(Nowhere(0x10000000, (2, 3), "<f4", (-4, 40)), **key)
print("--")
dropout_forward(Nowhere(0x10000000, (6, 7)), p=0.25, **key)
print("--")
dropout_forward(param, p=0.25, out=Nowhere(0x7000000002, (70000, 70001), "<f2"), **key)
print("--")
dropout_forward(param, p=0, out=Nowhere(0x7000000000, (70000, 70001)), **key)
print("--")
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the stand-in says of the program's parts."""
    return parts_told(PROGRAM, tmp_path_factory.mktemp("driver"), "push", "pop")


def launched(part, numbers=""):
    """The blocks, threads and stream of a part's launch, its words, and the numbers behind them."""
    (line,) = (line for line in part if line.startswith("launch"))
    grid, _, parameters = line.removeprefix("launch ").partition(": ")
    given = bytes.fromhex(parameters)
    words = (len(given) - struct.calcsize(f"={numbers}")) // 8
    values = struct.unpack(f"={words}Q{numbers}", given)
    return grid, values[:words], values[words:]


SEED, OFFSET = 2**64 - 2, 2**56 - 3
ELEMENTS = 70000 * 70001


def test_a_call_is_one_launch_and_no_memory(told):
    assert [line.split()[0] for line in told[0]] == ["load", "kernel", "launch"]
    assert [line.split()[0] for line in told[1]] == ["launch"]
    assert told[1] == told[0][2:]


def test_parameters_stand_as_the_kernel_takes_them(told):
    """More elements than 32 bits count."""
    grid, words, numbers = launched(told[1], "5f")
    assert grid.endswith(" x 256 on 5")
    assert words == (0x10000000, ELEMENTS, ELEMENTS // 4, ELEMENTS // 4, SEED, OFFSET | INITIAL << 56)
    assert numbers == (-0.5, 1.0, 2.0**-24, -0.5, 0.5 - 2.0**-25)


def test_float64_draws_twice(told):
    grid, words, _ = launched(told[2], "6d")
    assert grid == "1 x 256 on 5"
    assert words == (0x10000000, 9, 3, 2, SEED, OFFSET | INITIAL << 56, OFFSET | INITIAL_MORE << 56)


def test_fours_are_aligned(told):
    """To 16 bytes, or to all that they have; else none goes by fours."""
    assert launched(told[3], "5f")[1][:4] == (0x10000004, 9, 3, 0)
    assert launched(told[4], "5f")[1][:4] == (0x10000008, 9, 3, 2)
    assert launched(told[7], "3f")[1][:5] == (0x10000000, 0x7000000002, ELEMENTS, ELEMENTS // 4, 0)
    assert launched(told[8])[1] == (0x10000000, 0x7000000000, ELEMENTS, ELEMENTS // 4, ELEMENTS // 4)


def test_strided_arrays_are_walked_as_they_stand_in_memory(told):
    """The outer axis is the one of the larger stride; places are those in C order; the lowest element comes first."""
    _, words, _ = launched(told[5], "5f")
    lowest, count, extent, place0, place1, start, stride0, stride1 = words[:8]
    assert (lowest, count, extent) == (0x10000000 - 4, 6, 2)
    assert (place0, place1) == (1, 3)
    assert (start, stride0, stride1) == (1, 10, 2**64 - 1)


def test_a_new_array_comes_from_the_stream(told):
    kinds = [line.split()[0] for line in told[6] if not line.startswith(("load", "kernel"))]
    assert kinds == ["allocate", "launch", "free"]
    assert all(" on 5" in line for line in told[6] if not line.startswith(("load", "kernel")))
    assert launched(told[6], "3f")[1][-1] == OFFSET | DROPOUT << 56
    assert launched(told[6], "3f")[2][1:] == (2.0**22, 0.0)
