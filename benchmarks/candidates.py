"""Candidates: implementations of a workload."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from benchmarks.workload import Arrays

Step: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Candidate:
    """An implementation of some family's workloads, and the expected result of its first step."""

    name: str
    #: A function of a workload, its arrays and a number of threads that returns a function that does the work.
    make: Callable[[Any, Arrays, int], Step]
    #: A function of a workload and its arrays that returns the expected arrays after one step.
    expected: Callable[[Any, Arrays], Arrays] = lambda workload, arrays: workload.expected(arrays)
    #: A function of a workload, its arrays and a step's result that returns the arrays to verify.
    results: Callable[[Any, Arrays, Any], Arrays] = lambda workload, arrays, returned: arrays
    #: A function of the common arrays that returns those for this candidate.
    timed_on: Callable[[Arrays], Arrays] = lambda arrays: arrays
