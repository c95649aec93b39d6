"""Who makes updates: fastopt's backends, and NumPy as one writes it."""

from __future__ import annotations

from functools import partial
from typing import Any

import fastopt.reference.update
from benchmarks.candidates import Candidate, Step
from benchmarks.updates.workload import STEP, UpdateWorkload
from benchmarks.workload import Arrays
from tests.reference import hyperparameters


def _fastopt(backend: Any) -> Candidate:
    def make(workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
        call = workload.hyperparameters()
        return partial(workload.case.update, **arrays, **call, backend=backend, num_threads=threads)

    return Candidate(backend, make)


def _naive(workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
    formula = getattr(fastopt.reference.update, workload.case.update.__name__)
    return partial(formula, **arrays, **hyperparameters(workload.case, STEP))


CYTHON = _fastopt("cython")
NUMBA = _fastopt("numba")
NAIVE = Candidate("naive", _naive)
