"""The benchmarks of norms with pytest-benchmark: ``pytest benchmarks --benchmark-only``."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastopt
from benchmarks.candidates import Candidate
from benchmarks.norms.candidates import CYTHON, NAIVE, NUMBA
from benchmarks.norms.measure import NORM_WORKLOADS
from benchmarks.norms.workload import NormWorkload
from benchmarks.verify import verify

MODEST = [norm for norm in NORM_WORKLOADS if norm.elements < 10_000_000 and norm.storage == "float32"]


@pytest.mark.parametrize("candidate", [CYTHON, NUMBA, NAIVE], ids=lambda candidate: candidate.name)
@pytest.mark.parametrize("workload", MODEST, ids=lambda workload: f"{workload.name}, {workload.shape}")
def test_norm(benchmark: BenchmarkFixture, workload: NormWorkload, candidate: Candidate) -> None:
    """Verify and time one candidate."""
    threads = fastopt.get_num_threads()
    verify(candidate, workload, threads)
    benchmark.group = f"{workload.name}, {workload.shape}"
    benchmark(candidate.make(workload, workload.make_arrays(), threads))
    benchmark.extra_info["GB/s"] = round(workload.bytes / benchmark.stats.stats.median / 1e9, 1)
