"""Candidates for random numbers: fastopt's backends, NumPy's generator, and plain NumPy dropout."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.candidates import Candidate, Step
from benchmarks.random.workload import P, RandomWorkload
from benchmarks.workload import Arrays


def _fastopt(backend: Any) -> Candidate:
    return Candidate(backend, lambda workload, arrays, threads: workload.step(arrays, backend, threads))


def _numpy(workload: RandomWorkload, arrays: Arrays, threads: int) -> Step:
    generator = np.random.default_rng(0)
    out = arrays["y"]
    if workload.fills:
        fill = generator.standard_normal if workload.name == "normal" else generator.random
        return partial(fill, dtype=out.dtype.type, out=out)

    def drop() -> np.ndarray:
        x = arrays["x"]
        return x * (generator.random(x.shape, x.dtype.type) >= P) / (1 - P)

    return drop


def moments_of(workload: RandomWorkload, arrays: Arrays, returned: Any) -> Arrays:
    """Return the verified quantities of random numbers other than fastopt's."""
    return workload.moments(arrays, np.asarray(returned))


CYTHON = _fastopt("cython")
NUMBA = _fastopt("numba")
NUMPY = Candidate("naive", _numpy, expected=RandomWorkload.expected_moments, results=moments_of)
