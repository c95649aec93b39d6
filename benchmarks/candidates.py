"""Who takes part: ways to make the same update. Each makes, from a workload and its arrays, a function of one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import fastopt.reference
from benchmarks.workload import STEP, Arrays, Workload
from tests.reference import expected, hyperparameters

Step: TypeAlias = Callable[[], object]


def after_formula(workload: Workload, arrays: Arrays) -> Arrays:
    """Return what a correct update leaves behind: the plain formula in float64."""
    return expected(workload.case, arrays, STEP)


@dataclass(frozen=True)
class Candidate:
    """A way to make an update, and what its first step must leave behind."""

    name: str
    #: From a workload, its arrays and a number of threads to a function that updates those arrays in place.
    make: Callable[[Workload, Arrays, int], Step]
    expected: Callable[[Workload, Arrays], Arrays] = after_formula


def _fastopt(backend: Any) -> Candidate:
    def make(workload: Workload, arrays: Arrays, threads: int) -> Step:
        call = workload.hyperparameters()
        return partial(workload.case.update, **arrays, **call, backend=backend, num_threads=threads)

    return Candidate(backend, make)


def _naive(workload: Workload, arrays: Arrays, threads: int) -> Step:
    formula = getattr(fastopt.reference, workload.case.update.__name__)
    return partial(formula, **arrays, **hyperparameters(workload.case, STEP))


CYTHON = _fastopt("cython")
NUMBA = _fastopt("numba")
NAIVE = Candidate("naive", _naive)
