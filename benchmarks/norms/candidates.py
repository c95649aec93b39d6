"""Candidates for norms: fastopt's backends with existing output arrays, and plain NumPy."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.candidates import Candidate, Step
from benchmarks.norms.workload import NormWorkload
from benchmarks.workload import Arrays


def _fastopt(backend: Any) -> Candidate:
    def make(workload: NormWorkload, arrays: Arrays, threads: int) -> Step:
        return partial(workload.function, **call(workload, arrays), backend=backend, num_threads=threads)

    return Candidate(backend, make)


def call(workload: NormWorkload, arrays: Arrays) -> dict[str, Any]:
    """Return the keyword arguments of a call that writes its results into the arrays."""
    out = tuple(arrays[name] for name in workload.outputs)
    inputs = {name: arrays[name] for name in workload.inputs}
    return {**inputs, **workload.options, "out": out if len(out) > 1 else out[0]}


def _naive(workload: NormWorkload, arrays: Arrays, threads: int) -> Step:
    return partial(workload.compute, arrays)


CYTHON = _fastopt("cython")
NUMBA = _fastopt("numba")
NAIVE = Candidate("naive", _naive, results=lambda workload, arrays, returned: arrays | returned)
