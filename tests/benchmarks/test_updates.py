"""The benchmarks reject wrong candidates, and their files are the source of the documentation's numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from benchmarks import around, competition, processes, rules, tables
from benchmarks.candidates import Candidate
from benchmarks.competition import compete
from benchmarks.effort import QUICK
from benchmarks.figures import FIGURES, HIGHLIGHTS
from benchmarks.models import candidates as models
from benchmarks.models.measure import CLIPPED, MODEL, OFFLOADED, measure_model
from benchmarks.models.workload import ListWorkload
from benchmarks.norms import candidates as norm_candidates
from benchmarks.norms.measure import NORM_WORKLOADS
from benchmarks.norms.traffic import BOUND as NORM_BOUND
from benchmarks.norms.workload import NormWorkload
from benchmarks.processes import measure_processes
from benchmarks.report import models_grid
from benchmarks.results import COLUMNS, Result, Results, read_csv, write_csv
from benchmarks.scaling.measure import SCALING_WORKLOADS
from benchmarks.scaling.measure import candidates_for as scalers_for
from benchmarks.scaling.workload import ScalingWorkload
from benchmarks.timing import Timing
from benchmarks.updates.candidates import CYTHON, NAIVE
from benchmarks.updates.traffic import BOUND
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.verify import WrongResultError, verify
from tests.cases import BY_NAME
from tests.peers import peer

ROOT = Path(__file__).parents[2]

ADAM = UpdateWorkload(BY_NAME["adam"], 1000)
SMALL_NORM = NormWorkload("batch", "forward", "NC", (256, 64))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a small run."""
    out = tmp_path_factory.mktemp("results")
    command = ["-m", "benchmarks", "--only", "sgd,batch-norm", "--sizes", "2e4", "--no-peers", "--out"]
    run = subprocess.run(
        [sys.executable, *command, str(out)],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert re.search(r"^1/\d+  .*sgd.*: \d+\.\d s$", run.stdout, re.M), "a line for each measurement"
    for name in ("benchmarks.csv", "throughput.png", "norms.png"):
        assert str(out / name) in run.stdout
    return out


def test_csv_has_a_row_for_each_candidate(out: Path) -> None:
    lines = (out / "benchmarks.csv").read_text().splitlines()
    header = next(line for line in lines if not line.startswith("#"))
    assert header.split(",") == COLUMNS
    results = read_csv(out / "benchmarks.csv")
    assert {"processor", "instruction set", "threads", "numpy"} <= results.machine.keys()
    bytes_moved = {
        ("update", "sgd", "", 20_000): 3 * 4 * 20_000,  # param and grad read, param written
        ("norm", "batch-norm forward", "NC 256x64", 16_384): 3 * 4 * 16_384,  # x read twice, y written
        ("norm", "batch-norm backward", "NC 256x64", 16_384): 5 * 4 * 16_384,  # dy and x read twice, dx written
    }
    measured = [(*row, candidate) for row in bytes_moved for candidate in ("cython", "numba", "bound", "naive")]
    rows = {(row.measure, row.case, row.shape, row.elements, row.candidate): row for row in results.rows}
    assert sorted(rows) == sorted(measured)
    for (*what, _), row in rows.items():
        assert row.storage == "float32"
        assert row.bytes == bytes_moved[tuple(what)]
        assert 0 < row.low <= row.median <= row.high < 1


@pytest.mark.parametrize("name", ["throughput.png", "norms.png"])
def test_picture_is_drawn(out: Path, name: str) -> None:
    picture = (out / name).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000


def test_tables_replace_what_stands_between_markers(out: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n<!-- benchmark:begin machine -->\nold\n<!-- benchmark:end machine -->\nkept\n"
        "<!-- benchmark:begin updates -->\n<!-- benchmark:end updates -->\n"
        "<!-- benchmark:begin norms -->\n<!-- benchmark:end norms -->\nend\n"
    )
    command = [sys.executable, "-m", "benchmarks.tables", "--csv", str(out / "benchmarks.csv"), "--update", str(page)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    once = page.read_text()
    assert "old" not in once
    assert "kept" in once
    assert once.endswith("end\n")
    assert "| sgd | 2e4 |" in once
    assert "| batch-norm forward | NC 256x64 | float32 |" in once
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert page.read_text() == once


@pytest.mark.parametrize(
    "page",
    [
        "<!-- benchmark:begin updates -->\n",
        "<!-- benchmark:begin updates -->\n<!-- benchmark:end machine -->\n",
        "<!-- benchmark:begin unknown -->\n<!-- benchmark:end unknown -->\n",
    ],
)
def test_tables_refuse_broken_markers(page: str) -> None:
    with pytest.raises(ValueError, match=r"marker has no|no table is named"):
        tables.update(page, Results({}))


def test_pages_of_the_documentation_have_known_markers(out: Path) -> None:
    results = read_csv(out / "benchmarks.csv")
    for page in ("README.md", "docs/benchmarks.md"):
        tables.update((ROOT / page).read_text(), results)


@pytest.mark.parametrize("work", [*around.workloads(100_000), *around.GATHERED], ids=lambda work: work.shape)
def test_what_stands_around_a_step_is_right_before_it_is_timed(work: around.Around) -> None:
    for candidate in (around.CYTHON, around.NUMPY):
        verify(candidate, work, threads=2)
    wrong = replace(around.NUMPY, make=lambda workload, arrays, threads: lambda: None)
    with pytest.raises(WrongResultError, match=work.name.replace("+", r"\+")):
        verify(wrong, work, threads=2)


def test_figures_come_from_the_medians() -> None:
    results = Results({})
    adam = UpdateWorkload(BY_NAME["adam"], 10_000_000)
    for workload, measure, candidate, seconds in (
        (adam, "update", "cython", 2e-3),
        (adam, "update", "naive", 40e-3),
        (SMALL_NORM, "norm", "cython", 4e-6),
        (SMALL_NORM, "norm", "torch op", 14e-6),
        (SMALL_NORM, "norm", "torch out", 12e-6),
        (ADAM, "8 processes, one by one", "cython", 20e-6),
        (ADAM, "8 processes, at once", "cython", 22e-6),
    ):
        timing = Timing(3, seconds, seconds, seconds)
        results.rows.append(Result.of(timing, measure, candidate, workload))
    told = {figure.label: figure.measured(results) for figure in FIGURES}
    assert {label: value for label, value in told.items() if value is not None} == {
        "Adam, 1e7 elements, over naive NumPy": pytest.approx(20),
        "Adam, 1e5 elements, 8 processes at once, time over one by one": pytest.approx(1.1),
        "Batch norm forward, NC 256x64, over PyTorch's best": pytest.approx(3),
    }


def test_every_promised_norm_is_measured() -> None:
    measured = {f"{norm.name}, {norm.shape}" for norm in NORM_WORKLOADS}
    promised = [figure.label for figure in FIGURES if "norm" in figure.label and "one call" not in figure.label]
    assert len(promised) >= 15
    for label in promised:
        assert label[0].lower() + label[1:].replace(" norm", "-norm", 1).rpartition(", ")[0] in measured


def test_csv_keeps_every_digit(tmp_path: Path) -> None:
    row = Result.of(Timing(3, 1 / 3, 2 / 3, 1.0), "norm", "cython", SMALL_NORM)
    results = Results({"processor": "a: b, c"}, [row])
    write_csv(results, tmp_path / "results.csv")
    assert read_csv(tmp_path / "results.csv") == results


# ---- Verification


@pytest.mark.parametrize("candidate", [CYTHON, NAIVE, BOUND], ids=lambda candidate: candidate.name)
def test_correct_candidates_pass(candidate: Candidate) -> None:
    verify(candidate, ADAM, threads=2)


MODEST = [norm for norm in NORM_WORKLOADS if norm.elements < 10_000_000]
every_norm = pytest.mark.parametrize("norm", MODEST, ids=lambda norm: f"{norm.name} {norm.shape}")


@every_norm
def test_correct_norms_pass(norm: NormWorkload) -> None:
    verify(norm_candidates.CYTHON, norm, threads=2)
    verify(NORM_BOUND, norm, threads=2)
    if norm.storage == "float32":
        verify(norm_candidates.NAIVE, norm, threads=2)


@pytest.mark.parametrize("scaler", SCALING_WORKLOADS, ids=lambda scaler: f"{scaler.name} {scaler.shape}")
def test_correct_scalers_pass(scaler: ScalingWorkload) -> None:
    for candidate in scalers_for(scaler):
        verify(candidate, scaler, threads=2)


@pytest.mark.parametrize("workload", SCALING_WORKLOADS[:2], ids=lambda scaler: scaler.action)
def test_scalers_that_see_half_are_refused(workload: ScalingWorkload) -> None:
    for candidate in scalers_for(workload):
        some = replace(
            candidate,
            make=lambda workload, arrays, threads, make=candidate.make: make(
                workload, {"x": arrays["x"][::2]}, threads
            ),
        )
        with pytest.raises((WrongResultError, ValueError)):
            verify(some, workload, threads=1)


@every_norm
@pytest.mark.peers
def test_peers_pass(norm: NormWorkload) -> None:
    peer("torch")
    from benchmarks.norms.peers import peers_of

    for candidate in peers_of(norm):
        verify(candidate, norm, threads=2)


def _forgets_the_last(workload, arrays, threads):
    heads = {name: array[:-1] for name, array in arrays.items()}
    return CYTHON.make(workload, heads, threads)


def _leaves_nan(workload, arrays, threads):
    step = CYTHON.make(workload, arrays, threads)
    return lambda: (step(), arrays["m"].__setitem__(0, np.nan))


def _does_nothing(workload, arrays, threads):
    return lambda: None


def _forgets_the_running_variance(workload, arrays, threads):
    copies = {**arrays, "running_var": arrays["running_var"].copy()}
    return norm_candidates.CYTHON.make(workload, copies, threads)


def _writes_its_input(workload, arrays, threads):
    step = norm_candidates.CYTHON.make(workload, arrays, threads)
    return lambda: (step(), arrays["x"].__setitem__((0, 0), 0))


@pytest.mark.parametrize(
    ("workload", "correct", "make"),
    [
        (ADAM, CYTHON, _forgets_the_last),
        (ADAM, CYTHON, _leaves_nan),
        (ADAM, CYTHON, _does_nothing),
        (SMALL_NORM, norm_candidates.CYTHON, _does_nothing),
        (SMALL_NORM, norm_candidates.CYTHON, _forgets_the_running_variance),
        (SMALL_NORM, norm_candidates.CYTHON, _writes_its_input),
    ],
)
def test_wrong_candidate_is_not_timed(workload, correct, make, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []
    monkeypatch.setattr(competition, "time_in_turns", lambda *arguments: timed.append(arguments) or {})
    candidates = [correct, replace(correct, name="broken", make=make)]
    with pytest.raises(WrongResultError, match=f"broken is wrong for {workload.name} in float32"):
        list(compete("update", {workload: candidates}, QUICK, threads=1))
    assert not timed


def test_bound_that_writes_nothing_is_refused() -> None:
    with pytest.raises(WrongResultError, match="bound is wrong"):
        verify(replace(BOUND, make=_does_nothing), ADAM, threads=1)


def _skips_the_first_pass(workload, arrays, threads):
    step = NORM_BOUND.make(workload, arrays, threads)
    return lambda: [0, *step()[1:]]


@pytest.mark.parametrize("make", [_skips_the_first_pass, lambda *_: lambda: [0, 0]])
def test_bound_of_norms_that_moves_less_is_refused(make) -> None:
    with pytest.raises(WrongResultError, match="bound is wrong"):
        verify(replace(NORM_BOUND, make=make), SMALL_NORM, threads=1)


# ---- In processes of their own


def test_processes_are_timed_alone_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROCESSES", 2)
    rows = list(measure_processes(replace(QUICK, processes=1)))
    assert [row.measure for row in rows] == ["8 processes, one by one", "8 processes, at once"]
    assert all(0 < row.median < 1e-2 for row in rows)


@pytest.mark.peers
def test_kept_memory_is_measured_in_a_process_of_its_own() -> None:
    peer("torch")
    from benchmarks.norms.kept_memory import measure_kept_memory

    rows = list(measure_kept_memory(replace(SMALL_NORM, direction="backward"), QUICK, threads=1))
    assert [row.candidate for row in rows] == ["cython", "torch out", "torch op", "torch module"]
    assert {row.measure for row in rows} == {"norm, memory kept"}


def test_a_users_rule_is_verified_and_its_first_call_timed() -> None:
    """Where it is kept, Numba's import is no part of it."""
    verify(rules.RULE, ADAM, threads=2)
    rows = list(rules.measure_first_calls(replace(QUICK, processes=1)))
    assert [(row.measure, row.candidate) for row in rows] == [
        (measure, candidate)
        for measure in (rules.COMPILED, rules.KEPT)
        for candidate in ("rule", "rule, Numba imported")
    ]
    compiled, kept = rows[0], rows[2]
    assert kept.median < compiled.median


@pytest.mark.peers
def test_steps_of_models_are_verified_and_timed() -> None:
    """Each candidate, PyTorch's and fastopt's for PyTorch among them, has made one correct step."""
    torch = peer("torch")
    assert torch
    small = ListWorkload.of(BY_NAME["adamw"], [(20, 30), (7,), (4, 5, 6)], "small")
    rows = list(measure_model(small, QUICK, peers=True, threads=1))
    named = {(row.measure, row.candidate) for row in rows}
    steps = ("cython", "flat", "naive", "fastopt.torch", "torch fused", "torch foreach", "torch for-loop")
    both = [(measure, name) for measure in (CLIPPED, OFFLOADED) for name in ("cython", "torch fused")]
    assert named == {*((MODEL, name) for name in steps), *both}
    assert {row.shape for row in rows} == {"small"}
    assert models_grid(Results({}, rows)).rows[0][:2] == ("update", "small")


def test_a_wrong_step_of_a_model_is_not_timed() -> None:
    """A clipped step is verified as one."""
    small = ListWorkload.of(BY_NAME["adamw"], [(20, 30), (7,)], "small")
    with pytest.raises(WrongResultError, match="cython is wrong for adamw"):
        verify(replace(models.CLIPPING, expected=models.OPTIMIZER.expected), small, 1)


def test_highlights_are_figures() -> None:
    assert set(HIGHLIGHTS) <= {figure.label for figure in FIGURES}
