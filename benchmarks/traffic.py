"""The bound: the time that the memory needs for an update's arrays, whatever is computed with them.

A loop reads every array of the update and writes all but the gradient, adding the gradient to each, so that no array
can be left out. It is compiled by Numba alone and shares nothing with fastopt.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
from numba import njit, prange

from benchmarks.candidates import Candidate, Step
from benchmarks.workload import Arrays, Workload

#: Below so many elements one thread is faster: waking a second takes 2 us.
PARALLEL_FROM = 20_000

# Each array has a name of its own: arrays unpacked from a tuple are not written in a parallel loop. The slices tell the
# compiler that no index is negative, without which it makes no vector instructions.
SOURCE = """
def add_gradient(threads, grad, {names}):
    for thread in prange(threads):
        start = grad.size * thread // threads
        stop = grad.size * (thread + 1) // threads
        g = grad[start:stop]
        {slices}
        for i in range(g.size):
            {additions}
"""


@cache
def add_gradient(written: int, parallel: bool) -> Any:
    """Return the compiled loop for a number of written arrays."""
    arrays = [f"array{i}" for i in range(written)]
    source = SOURCE.format(
        names=", ".join(arrays),
        slices="; ".join(f"part{i} = {array}[start:stop]" for i, array in enumerate(arrays)),
        additions="; ".join(f"part{i}[i] += g[i]" for i in range(written)),
    )
    namespace = {"prange": prange}
    exec(source, namespace)
    return njit(parallel=parallel, error_model="numpy")(namespace["add_gradient"])


def _make(workload: Workload, arrays: Arrays, threads: int) -> Step:
    if workload.elements < PARALLEL_FROM:
        threads = 1
    loop = add_gradient(len(workload.case.written), parallel=threads > 1)
    numbers = [_as_numbers(arrays[name]) for name in ("grad", *workload.case.written)]
    loop(threads, *(array[:0] for array in numbers))  # compiles it, before anything is timed
    return partial(loop, threads, *numbers)


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """Numba has no bfloat16, and the memory does not care: its bits are added as whole numbers."""
    return array.view(np.uint16) if array.itemsize == 2 else array


def _after_addition(workload: Workload, arrays: Arrays) -> Arrays:
    expected = {name: array.copy() for name, array in arrays.items()}
    for name in workload.case.written:
        written = _as_numbers(expected[name])
        written += _as_numbers(arrays["grad"])
    return expected


def without_effect(arrays: Arrays) -> Arrays:
    """Return the same arrays with a gradient of zeros, so that the bound leaves the values of the others alone."""
    return {**arrays, "grad": np.full_like(arrays["grad"], 0)}  # np.zeros would share one page, always in cache


BOUND = Candidate("bound", _make, expected=_after_addition)
