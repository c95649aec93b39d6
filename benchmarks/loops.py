"""Loops that only move memory, on several threads: compiled by Numba, without code of fastopt."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import njit, prange

#: With fewer elements, one thread is faster: waking a second takes 2 us.
PARALLEL_FROM = 20_000

# Each array is a parameter: Numba does not write to arrays unpacked from a tuple in a parallel loop. The slices show
# the compiler that no index is negative; otherwise it would not vectorise the loop.
SOURCE = """
def loop(threads, {names}):
    total = 0
    for thread in prange(threads):
        start = array0.size * thread // threads
        stop = array0.size * (thread + 1) // threads
        {slices}
        subtotal = 0
        for i in range(part0.size):
            {body}
        total += subtotal
    return total
"""


@cache
def compiled_loop(arrays: int, body: str, parallel: bool) -> Any:
    """Return a loop over several arrays of one size, with ``body`` for each i, which uses part0[i], part1[i] and so on.

    It returns the sum that ``body`` adds to subtotal.
    """
    names = [f"array{i}" for i in range(arrays)]
    slices = "; ".join(f"part{i} = {name}[start:stop]" for i, name in enumerate(names))
    namespace = {"prange": prange}
    exec(SOURCE.format(names=", ".join(names), slices=slices, body=body), namespace)
    return njit(parallel=parallel, error_model="numpy")(namespace["loop"])
