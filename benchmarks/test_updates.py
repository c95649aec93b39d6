"""The benchmarks of updates with pytest-benchmark: ``pytest benchmarks --benchmark-only``."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastopt
from benchmarks.candidates import Candidate
from benchmarks.report import short
from benchmarks.updates.candidates import CYTHON, NAIVE, NUMBA
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.verify import verify
from tests.cases import CASES, Case

SIZES = (1_000, 1_000_000)


@pytest.mark.parametrize("candidate", [CYTHON, NUMBA, NAIVE], ids=lambda candidate: candidate.name)
@pytest.mark.parametrize("elements", SIZES, ids=short)
@pytest.mark.parametrize("case", [case for case in CASES if case.benchmarked], ids=lambda case: case.name)
def test_update(benchmark: BenchmarkFixture, case: Case, elements: int, candidate: Candidate) -> None:
    """Verify and time one candidate."""
    workload = UpdateWorkload(case, elements)
    threads = fastopt.get_num_threads()
    verify(candidate, workload, threads)
    benchmark.group = f"{case.name}, {short(elements)} elements"
    benchmark(candidate.make(workload, workload.make_arrays(), threads))
    benchmark.extra_info["GB/s"] = round(workload.bytes / benchmark.stats.stats.median / 1e9, 1)
