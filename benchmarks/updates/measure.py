"""Measures the throughput of updates by size, and the cost of storage types."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from benchmarks.candidates import Candidate
from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.results import Result
from benchmarks.updates.candidates import CYTHON, NAIVE, NUMBA
from benchmarks.updates.traffic import BOUND
from benchmarks.updates.workload import UpdateWorkload

#: bfloat16 in NumPy requires an optional package.
STORAGES = ("float32", *(["bfloat16"] if find_spec("ml_dtypes") else []), "float64")


def candidates_for(workload: UpdateWorkload, peers: bool) -> list[Candidate]:
    """Return the candidates: fastopt's backends, NumPy, the bound, and PyTorch if requested."""
    candidates = [CYTHON, NUMBA, BOUND, NAIVE]
    if peers:
        from benchmarks.updates.peers import peers_of  # imported late: PyTorch is optional

        candidates += peers_of(workload)
    return candidates


def measure_update(workload: UpdateWorkload, effort: Effort, peers: bool, threads: int) -> Iterator[Result]:
    """Time every candidate on the same arrays."""
    yield from compete("update", {workload: candidates_for(workload, peers)}, effort, threads)


def measure_storages(workload: UpdateWorkload, effort: Effort, threads: int) -> Iterator[Result]:
    """Time one update with parameters and gradients in each storage type."""
    workloads = [UpdateWorkload(workload.case, workload.elements, storage) for storage in STORAGES]
    yield from compete("storage", {each: [CYTHON, BOUND] for each in workloads}, effort, threads)
