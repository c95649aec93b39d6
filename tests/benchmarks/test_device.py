"""The benchmark of device arrays without a device: what can't run, who competes, and what is asked.

tests/cuda/test_benchmarks.py runs it from end to end, in Numba's simulator.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from benchmarks import tables
from benchmarks.competition import compete
from benchmarks.device import libraries
from benchmarks.device.candidates import CUPY, candidates_for
from benchmarks.device.device import Device
from benchmarks.device.figures import DEVICE_FIGURES
from benchmarks.device.measure import CALL, LAUNCHES, NORM, RANDOM, SCALING, UPDATE
from benchmarks.device.plan import CALLED, LIST, NORMS
from benchmarks.device.workload import CopyWorkload
from benchmarks.effort import QUICK
from benchmarks.figures import asked_and_measured
from benchmarks.models.resnet import RESNET50
from benchmarks.models.workload import ListWorkload
from benchmarks.norms.workload import NormWorkload
from benchmarks.random.measure import random_workloads
from benchmarks.results import Result, Results
from benchmarks.scaling.measure import SCALING_WORKLOADS
from benchmarks.timing import WALL_CLOCK, Timing
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.verify import WrongResultError, verify
from tests.cases import BY_NAME
from tests.peers import peer
from tests.support import ROOT, run_with_stand_in

ADAMW = BY_NAME["adamw"]
SMALL_LIST = ListWorkload.of(ADAMW, [(20, 30), (7,), (4, 5, 6)])


@pytest.mark.peers
def test_without_a_device_one_line_says_so():
    peer("numba_cuda")
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--device", "cuda", "--no-peers"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "NUMBA_ENABLE_CUDASIM": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("backend 'cuda' ")
    assert run.stderr.count("\n") == 1


def test_resnet50():
    assert len(RESNET50) == 161
    assert sum(map(prod, RESNET50)) == LIST.elements == 25_557_032
    convolutions = [shape for shape in RESNET50 if len(shape) == 4]
    assert len(convolutions) == 53
    assert [len(shape) for shape in RESNET50] == [4, 1, 1] * 53 + [2, 1]
    assert convolutions[0] == (64, 3, 7, 7)
    assert convolutions[-1] == (2048, 512, 1, 1)


def test_a_list_is_taken_apart_without_a_copy():
    arrays = SMALL_LIST.make_arrays()
    tensors = SMALL_LIST.tensors(arrays)
    assert [tensor["grad"].shape for tensor in tensors] == [(20, 30), (7,), (4, 5, 6)]
    assert all(np.shares_memory(tensor["m"], arrays["m"]) for tensor in tensors)
    assert np.array_equal(np.concatenate([tensor["m"].ravel() for tensor in tensors]), arrays["m"])


def test_the_trial_of_a_list_has_as_many_tensors():
    trial = LIST.trial()
    assert len(trial.shapes) == 161
    assert trial.elements == sum(map(prod, trial.shapes)) < 2_000_000


# ---- Candidates


@pytest.fixture
def tensors():
    """PyTorch's tensors in the host's memory, which pass for a device's."""
    peer("torch")
    return Device(SimpleNamespace(), libraries.torch_library("cpu"), WALL_CLOCK, 0)


def peers_of(workload, device):
    return [each for each in candidates_for(workload, device, peers=True) if each.name.startswith("torch")]


@pytest.mark.peers
@pytest.mark.parametrize("of", [UpdateWorkload(ADAMW, 1000), SMALL_LIST], ids=["update", "list"])
def test_updates_of_pytorch_pass(tensors, of):
    peers = peers_of(of, tensors)
    rows = compete(UPDATE, {of: peers}, QUICK, 1, tensors)
    assert [row.candidate for row in rows] == ["torch fused", "torch foreach", "torch functional"]
    for candidate in peers:
        with pytest.raises(WrongResultError, match=f"{candidate.name} is wrong for adamw"):
            verify(replace(candidate, make=lambda *_: lambda: None), of, 1, tensors)


@pytest.mark.peers
@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.name)
def test_norms_of_pytorch_pass(tensors, norm):
    small = replace(norm, sizes=(8, 3, 5, 4))
    rows = compete(NORM, {small: peers_of(small, tensors)}, QUICK, 1, tensors)
    assert [row.candidate for row in rows] == ["torch out", "torch op", "torch module"]


@pytest.mark.peers
@pytest.mark.parametrize("of", random_workloads((5000,)), ids=lambda of: f"{of.name} {of.storage}")
def test_random_numbers_of_pytorch_pass(tensors, of):
    rows = compete(RANDOM, {of: peers_of(of, tensors)}, QUICK, 1, tensors)
    assert [row.candidate for row in rows] == ["torch op", "torch module"][: 1 + (of.name == "dropout forward")]


@pytest.mark.peers
@pytest.mark.parametrize("of", SCALING_WORKLOADS, ids=lambda of: f"{of.name}, {of.shape}")
def test_scalers_of_pytorch_pass(tensors, of):
    small = replace(of, samples=500)
    peers = peers_of(small, tensors)
    assert [row.candidate for row in compete(SCALING, {small: peers}, QUICK, 1, tensors)] == ["torch op"]
    with pytest.raises(WrongResultError, match=f"torch op is wrong for {of.name}"):
        verify(replace(peers[0], results=lambda workload, arrays, returned: wrong(small, arrays)), small, 1, tensors)


def wrong(of, arrays):
    """Zeros in the place of results."""
    return {name: np.zeros_like(values) for name, values in of.expected(of.make_arrays()).items()}


@pytest.mark.peers
def test_autograd_of_one_candidate_is_not_for_the_others(tensors):
    small = NormWorkload("batch", "backward", "NCHW", (8, 3, 5, 4))
    shared = tensors.put(small.make_arrays())
    for candidate in peers_of(small, tensors):
        candidate.make(small, shared, 1)
    assert not any(tensor.requires_grad for tensor in shared.values())


class ElementwiseKernel:
    """CuPy's, as Python: the text of AdamW's is the same in both languages."""

    def __init__(self, inputs, outputs, text, name):
        self.names = [name.split()[1] for name in f"{inputs}, {outputs}".split(", ")]
        self.written = [name.split()[1] for name in outputs.split(", ")]
        self.text = text

    def __call__(self, *given):
        """Run the text over whole arrays."""
        arguments = dict(zip(self.names, given, strict=True))
        values = {**arguments, "sqrt": np.sqrt}
        exec(self.text, values)
        for name in self.written:
            arguments[name][...] = values[name]


def test_the_kernel_for_cupy_passes(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(ElementwiseKernel=ElementwiseKernel, asarray=np.asarray))
    verify(CUPY, UpdateWorkload(ADAMW, 1000), 1)


@pytest.mark.parametrize(
    ("here", "has_cuda", "said"),
    [
        ((), False, ["PyTorch is not installed", "CuPy is not installed"]),
        (("torch",), False, ["This PyTorch finds no CUDA device", "CuPy is not installed"]),
        (("torch", "cupy"), True, []),
    ],
)
def test_who_is_missing_is_named(monkeypatch, here, has_cuda, said):
    monkeypatch.setattr(libraries, "find_spec", lambda name: name in here)
    monkeypatch.setattr(libraries, "torch_has_cuda", lambda: has_cuda)
    assert [line.partition(":")[0] for line in libraries.missing_peers()] == said


@pytest.mark.peers
def test_the_driver_times_and_copies(tmp_path):
    """What is called, told by a stand-in for the driver."""
    peer("numba_cuda")
    program = """
from benchmarks.device.cuda import Cuda
from numpy import arange, zeros_like
cuda = Cuda()
print(cuda.description(), cuda.cache)
source = arange(9)
destination = zeros_like(source)
copy = lambda: cuda.copy(destination.ctypes.data, source.ctypes.data, source.nbytes)
print(cuda.calls.seconds(copy, 1) < 1, destination.tolist() == source.tolist())
print(cuda.events.seconds(copy, 2))
"""
    start, stop, described, waited, copied, told, *timed = run_with_stand_in(program, tmp_path).splitlines()
    assert start == stop == "event that tells the time"
    assert described.startswith("Stand-in 0, L2 cache of 50 MiB, driver ")
    assert described.endswith(f"for CUDA 13.5 {50 * 2**20}")
    assert (waited, told) == ("synchronize", "True True")
    assert copied == "copy 72 on the device on 1"
    assert timed == ["record on 1", copied, copied, "record on 1", "synchronize with an event", "0.003"]


# ---- Figures and pages


def results_of(*rows):
    """Results with a row for each (measure, workload, candidate, seconds)."""
    timed = [(Timing(3, time, time, time), measure, name, of) for measure, of, name, time in rows]
    return Results({}, [Result.of(*row) for row in timed])


def test_figures_come_from_the_medians():
    forward, fused = (next(norm for norm in NORMS if norm.fused == fused) for fused in (False, True))
    largest = UpdateWorkload(ADAMW, 100_000_000)
    results = results_of(
        (UPDATE, largest, "fastopt", 1.0), (UPDATE, CopyWorkload(largest), "copy", 0.9),
        (UPDATE, largest, "torch fused", 1.5), (UPDATE, largest, "torch functional", 1.25),
        (UPDATE, LIST, "fastopt", 2.0), (UPDATE, LIST, "torch fused", 1.0), (LAUNCHES, LIST, "fastopt", 1),
        (CALL, CALLED, "fastopt", 1e-5), (CALL, CALLED, "torch fused", 4e-5), (CALL, CALLED, "torch functional", 5e-6),
        (CALL, LIST, "fastopt", 1.0), (CALL, LIST, "torch fused", 1.0),
        (NORM, forward, "fastopt", 1.0), (NORM, forward, "torch module", 1.1), (NORM, forward, "torch op", 0.5),
        (NORM, fused, "fastopt", 1.0), (NORM, fused, "torch module", 1.4),
    )  # fmt: skip
    assert asked_and_measured(DEVICE_FIGURES, results).rows == [
        ("AdamW, 1e8 elements, throughput over a copy of as many bytes", ">= 0.92 x", "0.9 x", "missed"),
        ("AdamW, 1e8 elements, over PyTorch fused", ">= 1 x", "1.25 x", "met"),
        ("AdamW, the 161 tensors of ResNet-50, launches of a call", "<= 1", "1", "met"),
        ("AdamW, the 161 tensors of ResNet-50, over PyTorch fused", ">= 1 x", "0.5 x", "missed"),
        ("AdamW, 1e3 elements, host time of a call over PyTorch fused", "<= 1 x", "0.25 x", "met"),
        ("AdamW, 1e3 elements, host time of a call over PyTorch functional", "", "2 x", ""),
        ("Batch norm forward, NCHW 64x64x112x112, over cuDNN", ">= 1 x", "1.1 x", "met"),
        (
            "Batch norm + add + relu forward, NCHW 64x64x112x112, over PyTorch's three calls",
            ">= 1.5 x", "1.4 x", "missed",
        ),
    ]  # fmt: skip


def test_what_was_not_measured_stays_empty():
    grid = asked_and_measured(DEVICE_FIGURES, Results({}), unmeasured=True)
    assert [row[0] for row in grid.rows] == [figure.label for figure in DEVICE_FIGURES]
    assert all(row[2:] == ("", "") for row in grid.rows)


def test_the_page_has_known_markers():
    page = (ROOT / "docs" / "cuda.md").read_text()
    assert page.count("<!-- benchmark:begin ") >= 4
    measured = results_of((UPDATE, UpdateWorkload(ADAMW, 1000), "fastopt", 1e-6))
    assert "| adamw | 1e3 elements | 28.0 |" in tables.update(page, measured)


def test_the_copy_is_of_the_bytes_that_must_move():
    norm = NormWorkload("batch", "backward", "NCHW", (2, 3, 4, 5))
    for of in (UpdateWorkload(ADAMW, 7), SMALL_LIST, norm):
        copy = CopyWorkload(of)
        arrays = copy.make_arrays()
        assert (copy.name, copy.shape, copy.elements, copy.bytes) == (of.name, of.shape, of.elements, of.bytes)
        assert sum(array.nbytes for array in arrays.values()) == of.bytes
        assert not np.array_equal(arrays["source"], arrays["destination"])
