"""Measures scalers on a million samples."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from benchmarks.candidates import Candidate
from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.results import Result
from benchmarks.scaling.candidates import BOUND, CYTHON, IGNORING, NAIVE, NUMBA, SKLEARN, SKLEARN_COPY
from benchmarks.scaling.workload import FIT, TRANSFORM, ScalingWorkload

SCALING = "scaling"

SAMPLES = 1_000_000

#: All rows of the table
SCALING_WORKLOADS = [
    *(
        ScalingWorkload(scaler, action, SAMPLES, 64)
        for scaler in ("StandardScaler", "MinMaxScaler", "MaxAbsScaler")
        for action in (FIT, TRANSFORM)
    ),
    *(ScalingWorkload("StandardScaler", action, SAMPLES, 4) for action in (FIT, TRANSFORM)),
]


def candidates_for(workload: ScalingWorkload) -> list[Candidate]:
    """Return the candidates; scikit-learn's fit does not depend on ``copy``."""
    rivals = [SKLEARN] if workload.action == FIT else [SKLEARN, SKLEARN_COPY]
    own = [CYTHON, NUMBA] if workload.action == FIT else [CYTHON, IGNORING, NUMBA]
    return [*own, BOUND, NAIVE, *(rivals if find_spec("sklearn") else [])]


def measure_scaling(workload: ScalingWorkload, effort: Effort, threads: int) -> Iterator[Result]:
    """Time every candidate on the same array."""
    yield from compete(SCALING, {workload: candidates_for(workload)}, effort, threads)
