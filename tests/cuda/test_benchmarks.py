"""The benchmark of device arrays from end to end, at tiny sizes and with meaningless times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from benchmarks import __main__ as command_line
from benchmarks import tables, timing
from benchmarks.candidates import Candidate
from benchmarks.competition import compete
from benchmarks.device import plan
from benchmarks.device.candidates import FASTOPT, FASTOPT_LIST, copy_on
from benchmarks.device.device import CACHES, find_device
from benchmarks.device.measure import measure_launches
from benchmarks.device.workload import CopyWorkload
from benchmarks.effort import QUICK
from benchmarks.models.resnet import RESNET50
from benchmarks.models.workload import ListWorkload
from benchmarks.norms.workload import NormWorkload
from benchmarks.results import read_csv
from benchmarks.scaling.workload import FIT, TRANSFORM, ScalingWorkload
from benchmarks.updates import workload
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.verify import WrongResultError, verify
from tests.cases import BY_NAME

ADAMW = BY_NAME["adamw"]
UPDATE = UpdateWorkload(ADAMW, 24)
LIST = ListWorkload.of(ADAMW, [(2, 3), (5,), (4, 1, 2)])
ACTIONS = (FIT, TRANSFORM)
NORM = NormWorkload("batch", "forward", "NCHW", (4, 3, 2, 2))


@pytest.fixture(autouse=True)
def _modest(monkeypatch):
    """Small trials, and no pauses."""
    monkeypatch.setattr(workload, "TRIAL", 53)
    monkeypatch.setattr(timing, "PAUSE", 0)
    monkeypatch.setattr(timing, "WARM_UP", 0)


@pytest.fixture
def device():
    return find_device()


def test_the_command_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(plan, "CALLED", UPDATE)
    monkeypatch.setattr(plan, "LIST", LIST)
    monkeypatch.setattr(plan, "NORMS", [NORM, replace(NORM, direction="backward")])
    monkeypatch.setattr(plan, "SCALING_WORKLOADS", [ScalingWorkload("StandardScaler", each, 12, 5) for each in ACTIONS])
    command_line.main(["--device", "cuda", "--sizes", "24,60", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert "simulator, whose times mean nothing" in said
    results = read_csv(tmp_path / "cuda.csv")
    bytes_of = {(row.measure, row.shape or str(row.elements), row.candidate): row.bytes for row in results.rows}
    for name, elements in (("24", 24), ("60", 60), ("3 tensors", 19)):
        for candidate in ("fastopt", "copy"):
            assert bytes_of["cuda update", name, candidate] == 7 * 4 * elements
    assert bytes_of["cuda norm", "NCHW 4x3x2x2", "copy"] in (3 * 4 * 48, 5 * 4 * 48)
    for name, moved in (("normal", 4), ("dropout forward", 8)):
        rows = results.select(measure="cuda random", case=name, storage="float32")
        assert {row.candidate: row.bytes for row in rows} == dict.fromkeys(("fastopt", "copy"), moved * 60)
    for action, moved in ((FIT, 4), (TRANSFORM, 8)):
        rows = results.select(measure="cuda scaling", case=f"StandardScaler {action}", shape="12x5")
        own = ("fastopt", "copy", *["nan ignored"] * (action == TRANSFORM))
        assert {row.candidate: row.bytes for row in rows} == dict.fromkeys(own, moved * 60)
    for norm in plan.NORMS:
        timed = results.median("fastopt", "cuda norm", case=norm.name)
        assert timed or f"{norm.name}: fastopt is omitted: " in said
    assert results.median("fastopt", "cuda call", elements=24)
    assert results.median("fastopt", "cuda call", shape="3 tensors")
    assert results.median("fastopt", "cuda launches", shape="3 tensors") == 1
    page = "".join(f"<!-- benchmark:begin {name} -->\n<!-- benchmark:end {name} -->\n" for name in tables.GRIDS)
    written = tables.update(page, results)
    for row in (
        "| adamw | 2e1 elements |",
        "| adamw | 3 tensors |",
        "| batch-norm forward |",
        "| normal | float64 | 6e1 |",
        "| StandardScaler transform | 12x5 |",
        "| cuda call: adamw, ",
    ):
        assert row in written


def test_what_is_not_asked_for_is_not_measured(device):
    options = command_line.parse(["--device", "cuda", "--only", "adamw", "--sizes", "1e3"])
    assert [description for description, _ in plan.plan(options, device)] == ["adamw, 1e3 elements"]
    options = command_line.parse(["--device", "cuda", "--full"])
    descriptions = [description for description, _ in plan.plan(options, device)]
    assert {"call: adamw, 161 tensors", "adamw, 1e8 elements", "adamw, 161 tensors"} <= set(descriptions)
    assert sum("batch-norm" in description for description in descriptions) == 4


def test_what_a_device_does_not_measure_is_refused():
    with pytest.raises(SystemExit, match="expected some of calls, adamw, norms, random, scaling"):
        command_line.main(["--device", "cuda", "--only", "sgd", "--no-peers"])


def test_161_tensors_are_one_launch(device):
    (row,) = measure_launches(ListWorkload.of(ADAMW, [(1 + len(shape),) for shape in RESNET50]), device)
    assert row.shape == "161 tensors"
    assert row.median == 1


@pytest.mark.parametrize(("candidate", "of"), [(FASTOPT, UPDATE), (FASTOPT_LIST, LIST)], ids=["update", "list"])
def test_correct_candidates_pass(device, candidate, of):
    verify(candidate, of, 1, device)


@pytest.mark.parametrize("of", [UPDATE, LIST, NORM], ids=lambda of: of.name)
def test_the_copy_moves_the_bytes_of_the_workload(device, of):
    copy = CopyWorkload(of)
    verify(copy_on(device), copy, 1, device)
    assert copy.bytes == 2 * copy.make_arrays()["source"].nbytes == of.bytes


def _halves(device):
    def make(copy, arrays, threads):
        return copy_on(device).make(UpdateWorkload(ADAMW, copy.elements // 2), arrays, threads)

    return Candidate("half a copy", make)


def test_wrong_candidates_are_not_timed(device):
    idle = replace(FASTOPT, name="idle", make=lambda *_: lambda: None)
    for wrong, of in ((idle, UPDATE), (_halves(device), CopyWorkload(UPDATE))):
        with pytest.raises(WrongResultError, match=f"{wrong.name} is wrong for adamw"):
            list(compete("cuda update", {of: [wrong]}, QUICK, 1, device))


def test_calls_take_turns_with_arrays_that_exceed_the_cache(device, monkeypatch):
    place = replace(device, cache=1000)
    made = []

    def make(of, arrays, threads):
        step = FASTOPT.make(of, arrays, threads)
        made.append([])
        return lambda calls=made[-1]: (calls.append(1), step())

    counted = replace(FASTOPT, make=make)
    list(compete("cuda update", {UPDATE: [counted]}, QUICK, 1, place))
    (of_trial, *sets) = map(len, made)
    assert of_trial == 1
    assert len(sets) == -(-CACHES * 1000 // (4 * 4 * 24))
    assert max(sets) - min(sets) <= 1


def test_arrays_come_back_as_they_went(device):
    arrays = UPDATE.make_arrays()
    there = device.put(arrays)
    for name, array in device.get(there).items():
        assert array is not arrays[name]
        assert np.array_equal(array, arrays[name])
