"""The benchmarks of random numbers reject wrong candidates, and compute their figures."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

from benchmarks.candidates import Candidate
from benchmarks.figures import FIGURES
from benchmarks.random.candidates import CYTHON, NUMBA, NUMPY, moments_of
from benchmarks.random.figures import RANDOM_FIGURES
from benchmarks.random.measure import RANDOM, candidates_for
from benchmarks.random.workload import RandomWorkload
from benchmarks.report import random_grid
from benchmarks.results import Result, Results
from benchmarks.timing import Timing
from benchmarks.verify import WrongResultError, verify
from tests.peers import peer

every_workload = pytest.mark.parametrize(
    "workload",
    [RandomWorkload(name, 50_001, storage) for name, storage in RANDOM],
    ids=lambda w: f"{w.name} {w.storage}",
)


@every_workload
def test_correct_candidates_pass(workload):
    for candidate in candidates_for(workload, peers=False):
        verify(candidate, workload, threads=2)


@pytest.mark.peers
@every_workload
def test_pytorch_passes(workload):
    peer("torch")
    for candidate in candidates_for(workload, peers=True):
        verify(candidate, workload, threads=2)


@every_workload
def test_other_numbers_are_refused(workload):
    """Another seed, in the place of fastopt's; another distribution, in the place of the others'."""

    def moved(workload, arrays, threads):
        step = CYTHON.make(workload, arrays, threads)
        step.keywords["seed"] += 1
        return step

    def scaled(workload, arrays, threads):
        step = NUMPY.make(workload, arrays, threads)
        return lambda: 1.1 * np.asarray(step())

    with pytest.raises(WrongResultError):
        verify(Candidate("moved", moved), workload, threads=1)
    with pytest.raises(WrongResultError):
        verify(Candidate("scaled", scaled, expected=NUMPY.expected, results=moments_of), workload, threads=1)


def test_figures_and_table():
    results = Results({})
    names = {CYTHON.name: 1e-3, NUMBA.name: 2e-3, NUMPY.name: 4e-3, "torch op": 3e-3, "bound": 0.5e-3}
    for name, storage in RANDOM:
        for candidate, seconds in names.items():
            timing = Timing(3, seconds, seconds, seconds)
            workload = RandomWorkload(name, 10**7, storage)
            results.rows.append(Result.of(timing, "random", candidate, workload))
    told = {figure.label: figure.measured(results) for figure in FIGURES if figure in RANDOM_FIGURES}
    assert len(told) == len(RANDOM_FIGURES)
    assert set(told.values()) == {4.0, 3.0, 0.5}
    assert [row[0] for row in random_grid(results).rows] == [name for name, _ in RANDOM]
