"""Who takes part: a way to do a workload's work, of whatever family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from benchmarks.workload import Arrays

Step: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Candidate:
    """A way to do the work of some family's workloads, and what its first step must leave behind."""

    name: str
    #: From a workload, its arrays and a number of threads to a function that does the work on those arrays.
    make: Callable[[Any, Arrays, int], Step]
    #: From a workload and its arrays to what these must be after one step.
    expected: Callable[[Any, Arrays], Arrays] = lambda workload, arrays: workload.expected(arrays)
    #: From a workload, its arrays and what a step returned to the arrays as the step would have them.
    results: Callable[[Any, Arrays, Any], Arrays] = lambda workload, arrays, returned: arrays
    #: From the arrays that all are timed on to those that this one is.
    timed_on: Callable[[Arrays], Arrays] = lambda arrays: arrays
