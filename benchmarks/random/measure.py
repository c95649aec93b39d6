"""Measures initialisation and dropout."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.candidates import Candidate
from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.norms.traffic import BOUND
from benchmarks.random.candidates import CYTHON, NUMBA, NUMPY
from benchmarks.random.workload import RandomWorkload
from benchmarks.results import Result

#: All rows of the table, for each size.
RANDOM = (
    ("normal", "float32"),
    ("normal", "float64"),
    ("uniform", "float32"),
    ("dropout forward", "float32"),
    ("dropout backward", "float32"),
)


def random_workloads(sizes: tuple[int, ...]) -> list[RandomWorkload]:
    """Return the workloads with arrays of these sizes."""
    return [RandomWorkload(name, size, storage) for name, storage in RANDOM for size in sizes]


def candidates_for(workload: RandomWorkload, peers: bool) -> list[Candidate]:
    """Return the candidates: fastopt's backends, NumPy, PyTorch if requested, and a copy."""
    candidates = [CYTHON, NUMBA, NUMPY]
    if not workload.fills:
        candidates.append(BOUND)
    if peers:
        from benchmarks.random.peers import peers_of  # imported late: PyTorch is optional

        candidates += peers_of(workload)
    return candidates


def measure_random(workload: RandomWorkload, effort: Effort, peers: bool, threads: int) -> Iterator[Result]:
    """Time every candidate on the same arrays."""
    yield from compete("random", {workload: candidates_for(workload, peers)}, effort, threads)
