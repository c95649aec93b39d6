"""The bound: the time of the memory traffic of a norm's passes without their arithmetic.

A pass that writes stores the exclusive or of all arrays that it reads, and a pass that only reads computes their sum,
so that no array can be optimised away.
"""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import numpy as np

from benchmarks.candidates import Candidate, Step
from benchmarks.loops import PARALLEL_FROM, compiled_loop
from benchmarks.norms.workload import NormWorkload, Pass
from benchmarks.workload import Arrays


def _make(workload: NormWorkload, arrays: Arrays, threads: int) -> Step:
    if workload.elements < PARALLEL_FROM:
        threads = 1
    numbers = {name: _as_numbers(array) for name, array in arrays.items()}
    passes = [_loop(each, numbers, threads) for each in workload.passes]
    return lambda: [each() for each in passes]


def _loop(walk: Pass, numbers: Arrays, threads: int) -> Step:
    reads, writes = walk
    combined = " ^ ".join(f"part{i}[i]" for i in range(len(reads)))
    targets = [f"part{i}[i]" for i in range(len(reads), len(reads) + len(writes))]
    body = " = ".join([*targets, combined]) if targets else f"subtotal += {combined}"
    given = [numbers[name] for name in (*reads, *writes)]
    loop = compiled_loop(len(given), body, parallel=threads > 1)
    loop(threads, *(array[:0] for array in given))  # compiles the loop before it is timed
    return partial(loop, threads, *given)


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """Return the arrays as 8-byte integers, whose sums compilers may reorder."""
    flat = array.reshape(-1)
    return flat.view(np.int64 if flat.nbytes % 8 == 0 else np.uint8)


def _after_passes(workload: NormWorkload, arrays: Arrays) -> Arrays:
    expected = {name: array.copy() for name, array in arrays.items()}
    for reads, writes in workload.passes:
        combined = reduce(np.bitwise_xor, (_as_numbers(expected[name]) for name in reads))
        for name in writes:
            _as_numbers(expected[name])[:] = combined
        if not writes:
            expected["sum"] = combined.sum(keepdims=True)
    return expected


def _results(workload: NormWorkload, arrays: Arrays, returned: Any) -> Arrays:
    sums = [np.array([total]) for total, (_, writes) in zip(returned, workload.passes, strict=True) if not writes]
    return {**arrays, "sum": sums[0]} if sums else arrays


BOUND = Candidate("bound", _make, expected=_after_passes, results=_results)
