"""Measures 10,000 steps of zero gradient: averages decay to subnormal numbers, which are slow on many processors."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import numpy as np

from benchmarks.candidates import Candidate
from benchmarks.results import Result
from benchmarks.timing import Timing
from benchmarks.updates.candidates import CYTHON
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.verify import verify
from tests.cases import Case

STEPS = 10_000
ELEMENTS = 50_000

#: One thread, since wake-up times are not measured here.
THREADS = 1

#: Number of early and of late steps: with beta1 = 0.9, an average is subnormal after about 830.
WINDOW = 800


def measure_zero_gradient(case: Case, peers: bool) -> Iterator[Result]:
    """Time each of the steps, and summarise the first and the last of them."""
    workload = UpdateWorkload(case, ELEMENTS)
    candidates = [CYTHON]
    if peers and case.name == "adam":
        from benchmarks.updates.peers import peers_of  # imported late: PyTorch is optional

        candidates += [peer for peer in peers_of(workload) if peer.name == "torch fused"]
    for candidate in candidates:
        verify(candidate, workload, THREADS)
        seconds = _step_times(candidate, workload)
        for when, part in (("early", seconds[:WINDOW]), ("late", seconds[-WINDOW:])):
            timing = Timing.of(part)
            yield Result.of(timing, f"zero gradient, {when}", candidate.name, workload)


def _step_times(candidate: Candidate, workload: UpdateWorkload) -> list[float]:
    arrays = workload.make_arrays()
    arrays["grad"] = np.zeros_like(arrays["grad"])
    step = candidate.make(workload, arrays, THREADS)
    for _ in range(20):
        step()
    seconds = []
    for _ in range(STEPS):
        start = perf_counter()
        step()
        seconds.append(perf_counter() - start)
    return seconds
