"""Candidates verified and then timed in turns, whatever they compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.candidates import Candidate
from benchmarks.effort import Effort
from benchmarks.results import Result
from benchmarks.timing import time_in_turns
from benchmarks.verify import verify
from benchmarks.workload import Workload


def compete(
    measure: str, competitions: Mapping[Workload, Sequence[Candidate]], effort: Effort, threads: int
) -> Iterator[Result]:
    """Time every candidate of every workload; those of one workload share its arrays."""
    steps = {}
    for workload, candidates in competitions.items():
        arrays = workload.make_arrays()
        for candidate in candidates:
            verify(candidate, workload, threads)
            steps[workload, candidate] = candidate.make(workload, candidate.timed_on(arrays), threads)
    # After thousands of steps with one gradient, the variance of the centered RMSprop is a rounding error of either
    # sign, and NumPy warns of its root. NaN takes no more time than other numbers.
    with np.errstate(invalid="ignore"):
        timings = time_in_turns(steps, effort)
    for (workload, candidate), timing in timings.items():
        yield Result.of(timing, measure, candidate.name, workload)
