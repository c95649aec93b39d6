"""The benchmarks refuse wrong candidates, and their files are what the documentation is made of."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from benchmarks import tables, updates
from benchmarks.candidates import CYTHON, NAIVE, Candidate
from benchmarks.effort import QUICK
from benchmarks.figures import FIGURES
from benchmarks.results import COLUMNS, Result, Results, read_csv, write_csv
from benchmarks.timing import Timing
from benchmarks.traffic import BOUND
from benchmarks.verify import WrongResultError, verify
from benchmarks.workload import Workload
from tests.cases import BY_NAME

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a small run."""
    out = tmp_path_factory.mktemp("results")
    command = ["-m", "benchmarks", "--quick", "--only", "sgd", "--sizes", "1e3", "--no-peers", "--out"]
    run = subprocess.run(
        [sys.executable, *command, str(out)],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "sgd" in run.stdout
    for name in ("benchmarks.csv", "throughput.png"):
        assert str(out / name) in run.stdout
    return out


def test_csv_has_a_row_for_each_candidate(out: Path) -> None:
    lines = (out / "benchmarks.csv").read_text().splitlines()
    header = next(line for line in lines if not line.startswith("#"))
    assert header.split(",") == COLUMNS
    results = read_csv(out / "benchmarks.csv")
    assert {"processor", "instruction set", "threads", "numpy"} <= results.machine.keys()
    assert {row.candidate for row in results.rows} == {"cython", "numba", "bound", "naive"}
    for row in results.rows:
        assert (row.measure, row.case, row.storage, row.elements) == ("update", "sgd", "float32", 1000)
        assert row.bytes == 3 * 4 * 1000  # param and grad read, param written
        assert 0 < row.low <= row.median <= row.high < 1


def test_picture_is_drawn(out: Path) -> None:
    picture = (out / "throughput.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000


def test_tables_replace_what_stands_between_markers(out: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n<!-- benchmark:begin machine -->\nold\n<!-- benchmark:end machine -->\nkept\n"
        "<!-- benchmark:begin updates -->\n<!-- benchmark:end updates -->\nend\n"
    )
    command = [sys.executable, "-m", "benchmarks.tables", "--csv", str(out / "benchmarks.csv"), "--update", str(page)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    once = page.read_text()
    assert "old" not in once
    assert "kept" in once
    assert once.endswith("end\n")
    assert "| sgd | 1e3 |" in once
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
    with pytest.raises(ValueError, match=r"marker has no|no table is called"):
        tables.update(page, Results({}))


def test_pages_of_the_documentation_have_known_markers(out: Path) -> None:
    results = read_csv(out / "benchmarks.csv")
    for page in ("README.md", "docs/benchmarks.md"):
        tables.update((ROOT / page).read_text(), results)


def test_figures_come_from_the_medians() -> None:
    results = Results({})
    for candidate, seconds in (("cython", 2e-3), ("naive", 40e-3)):
        timing = Timing(3, seconds, seconds, seconds)
        results.rows.append(Result.of(timing, "update", candidate, "adam", "float32", 10_000_000, 28))
    told = {figure.label: figure.measured(results) for figure in FIGURES}
    assert {label: value for label, value in told.items() if value is not None} == {
        "Adam, 1e7 elements, over naive NumPy": pytest.approx(20)
    }


def test_csv_keeps_every_digit(tmp_path: Path) -> None:
    row = Result.of(Timing(3, 1 / 3, 2 / 3, 1.0), "update", "cython", "adam", "float32", 7, 196)
    results = Results({"processor": "a: b, c"}, [row])
    write_csv(results, tmp_path / "results.csv")
    assert read_csv(tmp_path / "results.csv") == results


@pytest.mark.parametrize("candidate", [CYTHON, NAIVE, BOUND], ids=lambda candidate: candidate.name)
def test_correct_candidates_pass(candidate: Candidate) -> None:
    verify(candidate, Workload(BY_NAME["adam"], 1000), threads=2)


def _forgets_the_last(workload, arrays, threads):
    heads = {name: array[:-1] for name, array in arrays.items()}
    return CYTHON.make(workload, heads, threads)


def _leaves_nan(workload, arrays, threads):
    step = CYTHON.make(workload, arrays, threads)
    return lambda: (step(), arrays["m"].__setitem__(0, np.nan))


@pytest.mark.parametrize("make", [_forgets_the_last, _leaves_nan, lambda *_: lambda: None])
def test_wrong_candidate_is_not_timed(make, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []
    monkeypatch.setattr(updates, "time_in_turns", lambda *arguments: timed.append(arguments) or {})
    monkeypatch.setattr(updates, "candidates_for", lambda *_: [CYTHON, replace(CYTHON, name="broken", make=make)])
    with pytest.raises(WrongResultError, match="broken is wrong for adam in float32"):
        list(updates.measure_update(Workload(BY_NAME["adam"], 1000), QUICK, peers=False, threads=1))
    assert not timed


def test_bound_that_writes_nothing_is_refused() -> None:
    with pytest.raises(WrongResultError, match="bound is wrong"):
        verify(replace(BOUND, make=lambda *_: lambda: None), Workload(BY_NAME["adam"], 1000), threads=1)
