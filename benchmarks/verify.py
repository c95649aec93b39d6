"""No candidate is timed before it has made one correct step."""

from __future__ import annotations

import numpy as np

from benchmarks.candidates import Candidate
from benchmarks.workload import Workload

#: Enough elements for two threads and a tail, by any candidate's rules; a prime.
ELEMENTS = 100_003

#: How far a value may be from the formula's, relative to itself or to 1: some roundings of what stores it.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 1e-2}


class WrongResultError(RuntimeError):
    """A candidate does not compute what it would be timed for."""


def verify(candidate: Candidate, workload: Workload, threads: int) -> None:
    """Make one step of the workload on an array of modest size, or raise `WrongResultError`."""
    small = Workload(workload.case, ELEMENTS, workload.storage)
    arrays = small.make_arrays()
    expected = candidate.expected(small, arrays)
    candidate.make(small, arrays, threads)()
    for name, array in arrays.items():
        tolerance = TOLERANCE[array.dtype.name]
        with np.errstate(invalid="ignore"):  # the bound's sums of bfloat16 bits include signaling NaNs
            given, wanted = array.astype(np.float64), expected[name].astype(np.float64)
            wrong = ~np.isclose(given, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise WrongResultError(
                f"{candidate.name} is wrong for {workload.case.name} in {workload.storage}, and so is not timed: "
                f"{name}[{i}] is {given[i]}; expected {wanted[i]} ({int(wrong.sum())} of {wrong.size} are wrong)"
            )
