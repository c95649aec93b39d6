"""The bound: the time of the memory traffic of an update's arrays, without its arithmetic.

A loop reads every array of the update, adds the gradient to each other array and writes it, so that no array can be
optimised away.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.candidates import Candidate, Step
from benchmarks.loops import PARALLEL_FROM, compiled_loop
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.workload import Arrays


def _make(workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
    if workload.elements < PARALLEL_FROM:
        threads = 1
    numbers = [_as_numbers(arrays[name]) for name in ("grad", *workload.case.written)]
    additions = "; ".join(f"part{i}[i] += part0[i]" for i in range(1, len(numbers)))
    loop = compiled_loop(len(numbers), additions, parallel=threads > 1)
    loop(threads, *(array[:0] for array in numbers))  # compiles the loop before it is timed
    return partial(loop, threads, *numbers)


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """Return the bits of bfloat16 as integers, since Numba does not support bfloat16; the traffic is the same."""
    return array.view(np.uint16) if array.itemsize == 2 else array


def _after_addition(workload: UpdateWorkload, arrays: Arrays) -> Arrays:
    expected = {name: array.copy() for name, array in arrays.items()}
    for name in workload.case.written:
        written = _as_numbers(expected[name])
        written += _as_numbers(arrays["grad"])
    return expected


def _without_effect(arrays: Arrays) -> Arrays:
    """Return the same arrays with a zero gradient, so that the bound does not change the others' values."""
    return {**arrays, "grad": np.full_like(arrays["grad"], 0)}  # np.zeros would share one cached page


BOUND = Candidate("bound", _make, expected=_after_addition, timed_on=_without_effect)
