"""Verifies that a candidate makes one correct step before it is timed."""

from __future__ import annotations

import numpy as np

from benchmarks.candidates import Candidate
from benchmarks.place import HOST, Place
from benchmarks.workload import Workload

#: The tolerance relative to a value or to the array's magnitude: a few roundings of the storage type.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 1e-2, "int64": 0, "uint8": 0}


class WrongResultError(RuntimeError):
    """A candidate's result is wrong."""


def verify(candidate: Candidate, workload: Workload, threads: int, place: Place = HOST) -> None:
    """Run the workload once on small arrays, or raise `WrongResultError`."""
    trial = workload.trial()
    arrays = trial.make_arrays()
    expected = candidate.expected(trial, arrays)
    given = place.put(arrays)
    returned = candidate.make(trial, given, threads)()
    for name, result in place.get(candidate.results(trial, given, returned)).items():
        tolerance = TOLERANCE[result.dtype.name]
        with np.errstate(invalid="ignore"):  # the bound's sums of bfloat16 bits include signaling NaNs
            given, wanted = result.astype(np.float64), expected[name].astype(np.float64)
            near = tolerance * trial.magnitude(name)
            wrong = ~np.isclose(given, wanted, rtol=tolerance, atol=near, equal_nan=True)
        if wrong.any():
            i = tuple(int(index) for index in np.argwhere(wrong)[0])
            raise WrongResultError(
                f"{candidate.name} is wrong for {workload.name} in {workload.storage}: "
                f"{name}[{', '.join(map(str, i))}] is {given[i]}; expected {wanted[i]} "
                f"({int(wrong.sum())} of {wrong.size} are wrong)"
            )
