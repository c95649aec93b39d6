"""Measures the estimators of fastopt.sklearn beside scikit-learn's own: a fit, and a transform into a new array."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import fastopt
from benchmarks.candidates import Candidate, Step
from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.figure import Figure, over
from benchmarks.grid import Grid
from benchmarks.report import throughput
from benchmarks.results import Result, Results
from benchmarks.scaling.candidates import results_of
from benchmarks.scaling.measure import SAMPLES
from benchmarks.scaling.workload import FIT, TRANSFORM, ScalingWorkload
from benchmarks.workload import Arrays

ESTIMATORS = "estimators"

SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler")

#: Every row of the table.
ESTIMATOR_WORKLOADS = [
    ScalingWorkload(scaler, action, SAMPLES, 64, storage)
    for storage in ("float32", "float64")
    for scaler in SCALERS
    for action in (FIT, TRANSFORM)
]

#: How many times faster than scikit-learn.
OVER_SKLEARN = {FIT: 5, TRANSFORM: 2}

OURS, THEIRS = "fastopt.sklearn", "sklearn"


def _estimator(name: str, package: str) -> Candidate:
    def make(workload: ScalingWorkload, arrays: Arrays, threads: int) -> Step:
        fastopt.set_num_threads(threads)
        estimator = getattr(import_module(package), workload.scaler)()
        if workload.action == FIT:
            return partial(estimator.fit, arrays["x"])
        return partial(estimator.fit(arrays["x"]).transform, arrays["x"])

    return Candidate(name, make, results=results_of)


CANDIDATES = [_estimator(OURS, "fastopt.sklearn"), _estimator(THEIRS, "sklearn.preprocessing")]


def measure_estimators(workload: ScalingWorkload, effort: Effort, threads: int) -> Iterator[Result]:
    """Time both on the same array, if scikit-learn is installed; a call takes long, and so gets more time."""
    if find_spec("sklearn"):
        longer = replace(effort, budget=20 * effort.budget)
        yield from compete(ESTIMATORS, {workload: CANDIDATES}, longer, threads)


def estimators_grid(results: Results) -> Grid:
    """Return the time and the throughput of both."""
    grid = Grid(
        "scikit-learn estimators: ms and GB/s of fastopt.sklearn and of scikit-learn",
        ("estimator", "storage", "x", "ms", "sklearn's ms", "GB/s", "sklearn's GB/s", "over sklearn"),
        words=3,
    )
    for row in results.select(measure=ESTIMATORS, candidate=OURS):
        columns = {"measure": ESTIMATORS, "case": row.case, "shape": row.shape, "storage": row.storage}
        for theirs in results.select(candidate=THEIRS, **columns):
            grid.rows.append(
                (
                    *(row.case, row.storage, row.shape),
                    *(f"{1e3 * each.median:.3g}" for each in (row, theirs)),
                    *(f"{throughput(each):.1f}" for each in (row, theirs)),
                    f"{theirs.median / row.median:.2f}",
                )
            )
    return grid


def _over_sklearn(scaler: str, action: str, storage: str) -> Callable[[Results], float | None]:
    case = f"{scaler} {action}"
    return lambda results: over(results, THEIRS, own=OURS, measure=ESTIMATORS, case=case, storage=storage)


ESTIMATOR_FIGURES = [
    Figure(
        f"fastopt.sklearn.{scaler}'s {action}, 1e6 x 64, {storage}, over scikit-learn's",
        _over_sklearn(scaler, action, storage), ">=", limit,
    )
    for scaler in SCALERS
    for action, limit in OVER_SKLEARN.items()
    for storage in ("float32", "float64")
]  # fmt: skip
