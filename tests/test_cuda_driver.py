"""How the driver is called, told by a stand-in for it: what is launched, where, with what, and that nothing waits."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.peers import peer
from tests.support import run_with_stand_in

peer("numba_cuda")

PROGRAM = """
import numpy as np, fastopt
from tests.cuda.support import OnDevice
from fastopt.engine.run import run_many
from fastopt.updates.adam import ADAM
a, b = (np.ones((4, 5000), np.float32) for _ in range(2))
arrays = [OnDevice(x) for x in a]
hyperparameters = (1, 0.5, 0.5, 0.75, 0.25, False, 0.0, 1.0)
for _ in range(2):
    fastopt.adam(*arrays, step=1, lr=0.5, beta1=0.5, beta2=0.75, eps=0.25, bias_correction=False, stream=5)
    print("--")
print(*(x.ctypes.data for x in a), "--", sep="\\n")
for _ in range(2):
    run_many(ADAM, [tuple(arrays), tuple(OnDevice(x) for x in b)], hyperparameters, None, None, 7)
    print("--")
fastopt.sgd(OnDevice(a[0], stream=8), OnDevice(a[1], stream=9), lr=0.5)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the stand-in says of the program's parts."""
    said = run_with_stand_in(PROGRAM, tmp_path_factory.mktemp("driver"))
    return [part.split("\n") for part in said.split("\n--\n")]


def launched(line):
    """The blocks, threads and stream of a launch, and its parameters' bytes."""
    shape, _, parameters = line.removeprefix("launch ").partition(": ")
    grid, _, stream = shape.partition(" on ")
    return (*map(int, grid.split(" x ")), int(stream)), bytes.fromhex(parameters)


def test_the_first_call_loads_the_kernel(told):
    assert [line.split()[0] for line in told[0]] == ["push", "load", "kernel", "pop", "push", "launch", "pop"]
    assert told[0][1].startswith("load ELF")
    assert told[0][2] == "kernel kernel"


def test_another_call_only_launches(told):
    push, launch, pop = told[1]
    assert (push, pop) == ("push", "pop")
    assert launch == told[0][5]


def test_parameters_stand_as_the_kernel_takes_them(told):
    grid, parameters = launched(told[1][1])
    assert grid == (-(-5000 // (2 * 256)), 256, 5)
    *pointers, count, grad_scale, weight_decay, decay, step_size, beta1, gain1, beta2, gain2, correction, eps = (
        struct.unpack("=5Q10f", parameters)
    )
    assert pointers == [int(line) for line in told[2]]
    assert count == 5000
    assert (grad_scale, weight_decay, decay, step_size) == (1, 0, 0, 0.5)
    assert (beta1, gain1, beta2, gain2, correction, eps) == (0.5, 0.5, 0.75, 0.25, 1, 0.25)


def test_a_list_is_one_launch_after_one_copy(told):
    first, again = told[3], told[4]
    kinds = [line.split()[0] for line in first]
    assert kinds.count("copy") == kinds.count("allocate") == kinds.count("launch") == 1
    assert kinds.index("allocate") < kinds.index("copy") < kinds.index("launch")
    assert "copy 112 on 7" in first  # 4 pointers, a size, a chunk's tensor and first element, of each of two tensors
    assert [line.split()[0] for line in again] == ["push", "launch", "pop"]
    (blocks, threads, stream), parameters = launched(again[1])
    assert (blocks, threads, stream) == (2, 256, 7)
    table = np.frombuffer(parameters[: 7 * 8], np.uint64)
    assert np.all(np.diff(table) == 16)  # rows of two words, one behind the other
    assert struct.unpack("=Q", parameters[56:64]) == (2,)


def test_streams_wait_for_each_other_and_the_host_for_none(told):
    lines = [line for line in told[5] if line.split()[:1] not in (["push"], ["pop"], ["load"], ["kernel"], [])]
    assert lines[:2] == ["record on 9", "wait on 8"]
    grid, _ = launched(lines[2])
    assert grid[2] == 8
    assert not any("ynchronize" in line for part in told for line in part)
