"""Measures updates over arrays: throughput against size, and what storage costs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np

from benchmarks.candidates import CYTHON, NAIVE, NUMBA, Candidate
from benchmarks.effort import Effort
from benchmarks.results import Result
from benchmarks.timing import time_in_turns
from benchmarks.traffic import BOUND, without_effect
from benchmarks.verify import verify
from benchmarks.workload import Workload

#: NumPy has bfloat16 from an optional package.
STORAGES = ("float32", *(["bfloat16"] if find_spec("ml_dtypes") else []), "float64")


def candidates_for(workload: Workload, peers: bool) -> list[Candidate]:
    """Return who makes the workload's update: fastopt's backends, NumPy, the bound, and PyTorch if wanted."""
    candidates = [CYTHON, NUMBA, BOUND]
    if workload.storage == "float32":
        candidates.append(NAIVE)
    if peers:
        from benchmarks.peers import peers_of  # only here: PyTorch is optional

        candidates += peers_of(workload)
    return candidates


def measure_update(workload: Workload, effort: Effort, peers: bool, threads: int) -> Iterator[Result]:
    """Time every candidate on the same arrays."""
    candidates = candidates_for(workload, peers)
    yield from _measure("update", {workload: candidates}, effort, threads)


def measure_storages(workload: Workload, effort: Effort, threads: int) -> Iterator[Result]:
    """Time one update with its parameters and gradients stored in each type."""
    workloads = [Workload(workload.case, workload.elements, storage) for storage in STORAGES]
    yield from _measure("storage", {each: [CYTHON, BOUND] for each in workloads}, effort, threads)


def _measure(
    measure: str, competitions: dict[Workload, list[Candidate]], effort: Effort, threads: int
) -> Iterator[Result]:
    steps = {}
    for workload, candidates in competitions.items():
        arrays = workload.make_arrays()
        for candidate in candidates:
            verify(candidate, workload, threads)
            given = without_effect(arrays) if candidate is BOUND else arrays
            steps[workload, candidate] = candidate.make(workload, given, threads)
    # After thousands of steps with one gradient, the variance of the centered RMSprop is a rounding error of either
    # sign, and NumPy warns of its root. NaN takes no more time than other numbers.
    with np.errstate(invalid="ignore"):
        timings = time_in_turns(steps, effort)
    for (workload, candidate), timing in timings.items():
        yield Result.of(
            timing, measure, candidate.name, workload.case.name, workload.storage, workload.elements, workload.bytes
        )
