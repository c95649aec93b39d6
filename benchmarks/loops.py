"""Loops that do nothing but move memory, on several threads: compiled by Numba alone, sharing nothing with fastopt."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import njit, prange

#: Below so many elements one thread is faster: waking a second takes 2 us.
PARALLEL_FROM = 20_000

# Each array has a name of its own: arrays unpacked from a tuple are not written in a parallel loop. The slices tell the
# compiler that no index is negative, without which it makes no vector instructions.
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
    """Return a loop over some arrays of one size: ``body`` is done for each i, on part0[i], part1[i], and so on.

    It returns what ``body`` adds to subtotal.
    """
    names = [f"array{i}" for i in range(arrays)]
    slices = "; ".join(f"part{i} = {name}[start:stop]" for i, name in enumerate(names))
    namespace = {"prange": prange}
    exec(SOURCE.format(names=", ".join(names), slices=slices, body=body), namespace)
    return njit(parallel=parallel, error_model="numpy")(namespace["loop"])
