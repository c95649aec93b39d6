"""Verifies candidates, then times them in turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

import numpy as np

from benchmarks.candidates import Candidate, Step
from benchmarks.effort import Effort
from benchmarks.place import HOST, Place
from benchmarks.results import Result
from benchmarks.timing import time_in_turns
from benchmarks.verify import verify
from benchmarks.workload import Workload
from fastopt import BackendUnavailable


def compete(
    measure: str,
    competitions: Mapping[Workload, Sequence[Candidate]],
    effort: Effort,
    threads: int,
    place: Place = HOST,
) -> Iterator[Result]:
    """Time every candidate of every workload; the candidates of a workload share its arrays.

    A candidate that can't run here is omitted, and the reason is printed.
    """
    steps = {}
    for workload, candidates in competitions.items():
        sets = place.sets(workload.make_arrays())
        for candidate in candidates:
            try:
                verify(candidate, workload, threads, place)
            except BackendUnavailable as error:
                print(f"{workload.name}: {candidate.name} is omitted: {error}")
                continue
            made = [candidate.make(workload, candidate.timed_on(arrays), threads) for arrays in sets]
            steps[workload, candidate] = _in_turn(made)
    # After thousands of steps with one gradient, the variance of the centered RMSprop is a rounding error of either
    # sign, and NumPy warns of its root. NaN does not affect the time.
    with np.errstate(invalid="ignore"):
        timings = time_in_turns(steps, effort, place.clock)
    for (workload, candidate), timing in timings.items():
        yield Result.of(timing, measure, candidate.name, workload)


def _in_turn(steps: Sequence[Step]) -> Step:
    """Return a step that runs all of these in order."""
    if len(steps) == 1:
        return steps[0]
    following = cycle(steps)
    return lambda: next(following)()
