"""Calls of the CUDA driver, recorded by a mock: launches with their arguments, and no synchronisation."""

from __future__ import annotations

import struct

import pytest

from tests.peers import peer
from tests.support import run_with_stand_in

peer("numba_cuda")

PROGRAM = """
import numpy as np, fastopt
from tests.cuda.support import OnDevice
from fastopt.engine.update.run import run_many
from fastopt.updates.adam import ADAM
from cuda.bindings import driver as cu
a, b = (np.ones((4, 5000), np.float32) for _ in range(2))
arrays = [OnDevice(x) for x in a]
hyperparameters = (1, 0.5, 0.5, 0.75, 0.25, False, 0.0, 1.0)
for _ in range(2):
    fastopt.adam(*arrays, step=1, lr=0.5, beta1=0.5, beta2=0.75, eps=0.25, bias_correction=False, stream=5)
    print("--")
print(*(x.ctypes.data for x in a), "--", sep="\\n")
for _ in range(2):
    run_many(ADAM.updates[()], [tuple(arrays), tuple(OnDevice(x) for x in b)], hyperparameters, None, None, 7)
    print("--")
fastopt.sgd(OnDevice(a[0], stream=8), OnDevice(a[1], stream=9), lr=0.5)
print("--")
tensors = [tuple(OnDevice(x) for x in each) for each in np.ones((200, 4, 64), np.float32)]
for grads in np.ones((3, 200, 64), np.float32):  # made anew at each step, as by zero_grad(set_to_none=True)
    moved = [(param, OnDevice(grad), m, v) for (param, _, m, v), grad in zip(tensors, grads)]
    run_many(ADAM.updates[()], moved, hyperparameters, None, None, 7)
    print("--")
run_many(ADAM.updates[()], tensors[:2], hyperparameters, None, None, 7)
print("--")
cu.cuStreamBeginCapture(7, cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL)
for _ in range(2):
    run_many(ADAM.updates[()], tensors[:2], hyperparameters, None, None, 7)
    print("--")
print(*(x.memory.ctypes.data for each in zip(*tensors[:2]) for x in each))
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


def kinds(part):
    """What is done, but for what makes contexts current."""
    words = (line.split()[0] for line in part if line)
    return [word for word in words if word not in ("push", "pop")]


def test_a_list_is_one_launch_after_its_table(told):
    first, again = told[3], told[4]
    assert kinds(first) == ["allocate", *["load", "kernel", "launch"] * 2]
    assert "allocate 4080 on 7" in first  # all words of one launch
    assert kinds(again) == ["launch"]
    filled, used = (launched(line) for line in first if line.startswith("launch"))
    assert [launched(line) for line in again if line.startswith("launch")] == [used]
    assert filled[0] == (1, 1, 7)
    memory, *words = struct.unpack("=511Q", filled[1])
    assert words[8:] == [5000, 5000, 0, 1, *[0] * 498]  # sizes; each tensor's first chunk
    (blocks, threads, stream), parameters = used
    assert (blocks, threads, stream) == (2, 256, 7)
    *rows, tensors, chunks = struct.unpack("=8Q", parameters[:64])
    assert rows == [memory + 16 * row for row in range(6)]
    assert (tensors, chunks) == (2, 2)


@pytest.mark.parametrize("step", [6, 7, 8])
def test_new_gradients_cost_no_copy_and_no_wait(told, step):
    """At every step: 6 words of each of 200 tensors are three launches' arguments."""
    assert [each for each in kinds(told[step]) if each not in ("load", "kernel")] == ["allocate", *["launch"] * 4]


@pytest.mark.parametrize("call", [10, 11])
def test_a_captured_call_has_a_table_of_its_own(told, call):
    """A graph makes it, fills it and gives it back whenever it is replayed: the host keeps nothing."""
    assert kinds(told[9]) == ["allocate", *["launch"] * 2]
    assert kinds(told[call]) == ["allocate", *["launch"] * 2, "free"]
    assert all(line.partition(":")[0].endswith(" on 7") for line in told[call] if kinds([line]))
    (filled, _) = (launched(line) for line in told[call] if line.startswith("launch"))
    assert struct.unpack("=511Q", filled[1])[1:9] == tuple(map(int, told[12][0].split()))


def test_streams_wait_for_each_other_and_the_host_for_none(told):
    lines = [line for line in told[5] if line.split()[:1] not in (["push"], ["pop"], ["load"], ["kernel"], [])]
    assert lines[:2] == ["record on 9", "wait on 8"]
    grid, _ = launched(lines[2])
    assert grid[2] == 8
    assert not any("ynchronize" in line or "pinned" in line for part in told for line in part)
