"""Candidates for scaling: fastopt, scikit-learn, plain NumPy, and the time of the memory traffic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.candidates import Candidate, Step
from benchmarks.loops import compiled_loop
from benchmarks.scaling.workload import FIT, ScalingWorkload
from benchmarks.workload import Arrays
from fastopt import scaling


def results_of(workload: ScalingWorkload, arrays: Arrays, returned: Any) -> Arrays:
    """Return the fitted statistics, or x, written in place or returned as a copy."""
    if workload.action != FIT:
        return arrays if returned is None else {"x": returned}
    first, second = {
        "StandardScaler": (("mean", "mean_"), ("var", "var_")),
        "MinMaxScaler": (("min", "data_min_"), ("max", "data_max_")),
        "MaxAbsScaler": (("max", "max_abs_"), ("max", "max_abs_")),
    }[workload.scaler]
    return {
        "first": next(getattr(returned, name) for name in first if hasattr(returned, name)),
        "second": next(getattr(returned, name) for name in second if hasattr(returned, name)),
    }


def _fastopt(name: str, backend: Any, **options: Any) -> Candidate:
    def make(workload: ScalingWorkload, arrays: Arrays, threads: int) -> Step:
        scaler = getattr(scaling, workload.scaler)(backend=backend, num_threads=threads, **options)
        if workload.action == FIT:
            return partial(scaler.fit, arrays["x"])
        return partial(scaler.fit(arrays["x"]).transform_, arrays["x"])

    return Candidate(name, make, results=_of_fastopt)


def _of_fastopt(workload: ScalingWorkload, arrays: Arrays, returned: Any) -> Arrays:
    if workload.action == FIT and workload.scaler == "MaxAbsScaler":
        largest = np.maximum(abs(returned.min), abs(returned.max))
        return {"first": largest, "second": largest}
    return results_of(workload, arrays, returned)


def _sklearn(name: str, copy: bool) -> Candidate:
    def make(workload: ScalingWorkload, arrays: Arrays, threads: int) -> Step:
        from sklearn import preprocessing  # imported late: the import takes a second

        scaler = getattr(preprocessing, workload.scaler)(copy=copy)
        if workload.action == FIT:
            return partial(scaler.fit, arrays["x"])
        return partial(scaler.fit(arrays["x"]).transform, arrays["x"])

    return Candidate(name, make, results=results_of)


def _naive(workload: ScalingWorkload, arrays: Arrays, threads: int) -> Step:
    x = arrays["x"]
    statistics = _STATISTICS[workload.scaler]
    if workload.action == FIT:
        return partial(statistics, x)
    first, second = (values.copy() for values in statistics(x))
    return partial(_IN_PLACE[workload.scaler], x, first, second)


def _largest(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    largest = np.maximum(abs(x.min(0)), abs(x.max(0)))
    return largest, largest


def _standardise(x: np.ndarray, mean: np.ndarray, var: np.ndarray) -> None:
    x -= mean
    x /= np.sqrt(var)


def _to_range(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    x -= low
    x /= high - low


def _by_largest(x: np.ndarray, largest: np.ndarray, _: np.ndarray) -> None:
    x /= largest


_STATISTICS: dict[str, Callable[..., Any]] = {
    "StandardScaler": lambda x: (x.mean(0), x.var(0)),
    "MinMaxScaler": lambda x: (x.min(0), x.max(0)),
    "MaxAbsScaler": _largest,
}
_IN_PLACE = {"StandardScaler": _standardise, "MinMaxScaler": _to_range, "MaxAbsScaler": _by_largest}


def _of_naive(workload: ScalingWorkload, arrays: Arrays, returned: Any) -> Arrays:
    return arrays if workload.action != FIT else dict(zip(("first", "second"), returned, strict=True))


# ---- The bound: integers are summed, or inverted in place, in a copy of the array, since inverted numbers would not be
# ---- finite.


def _make_bound(workload: ScalingWorkload, arrays: Arrays, threads: int) -> Step:
    numbers = arrays["x"].reshape(-1).view(np.int64)
    body = "subtotal += part0[i]" if workload.action == FIT else "part0[i] = ~part0[i]"
    loop = compiled_loop(1, body, parallel=threads > 1)
    loop(threads, numbers[:0])  # compiles the loop before it is timed
    return partial(loop, threads, numbers)


def _after_bound(workload: ScalingWorkload, arrays: Arrays) -> Arrays:
    numbers = arrays["x"].reshape(-1).view(np.int64)
    return {"sum": numbers.sum(keepdims=True)} if workload.action == FIT else {"numbers": ~numbers}


def _of_bound(workload: ScalingWorkload, arrays: Arrays, returned: Any) -> Arrays:
    if workload.action == FIT:
        return {"sum": np.array([returned])}
    return {"numbers": arrays["x"].reshape(-1).view(np.int64)}


CYTHON = _fastopt("cython", "cython")
#: Its transform does not test for NaN before it writes.
IGNORING = _fastopt("nan ignored", "cython", nan="ignore")
NUMBA = _fastopt("numba", "numba")
CUDA = _fastopt("fastopt", "cuda")
CUDA_IGNORING = _fastopt("nan ignored", "cuda", nan="ignore")
NAIVE = Candidate("naive", _naive, results=_of_naive)
BOUND = Candidate("bound", _make_bound, _after_bound, _of_bound, timed_on=lambda arrays: {"x": arrays["x"].copy()})
SKLEARN = _sklearn("sklearn", copy=False)
SKLEARN_COPY = _sklearn("sklearn copy", copy=True)
