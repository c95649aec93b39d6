"""Candidates for updates: fastopt's backends and plain NumPy."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.candidates import Candidate, Step
from benchmarks.updates.workload import STEP, UpdateWorkload
from benchmarks.workload import Arrays
from fastopt.specs.updates import UPDATES
from tests.reference import hyperparameters


def _fastopt(backend: Any) -> Candidate:
    def make(workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
        call = workload.hyperparameters()
        return partial(workload.case.update, **arrays, **call, backend=backend, num_threads=threads)

    return Candidate(backend, make)


def _naive(workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
    formula = UPDATES[workload.case.update.__name__].reference
    return partial(formula, **arrays, **hyperparameters(workload.case, STEP))


CYTHON = _fastopt("cython")
NUMBA = _fastopt("numba")
NAIVE = Candidate("naive", _naive)
