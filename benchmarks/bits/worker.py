"""The process that makes the calls: ``worker EVERY BACKEND SHIFT`` prints a line for each."""

from __future__ import annotations

import sys

from benchmarks.bits.call import CYTHON_ONLY, THREADS, Options
from benchmarks.bits.calls import calls


def main() -> None:
    """Make every call and print name, digest and arguments, separated by tabs."""
    every, backend, shift = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for place, call in enumerate(calls(every, backend)):
        options: Options = {"num_threads": THREADS[(place + shift) % len(THREADS)]}
        if call.backends != CYTHON_ONLY:
            options["backend"] = backend
        name = f"{call} reference" if backend == "reference" else str(call)
        print(name, *call.record(options), sep="\t")
