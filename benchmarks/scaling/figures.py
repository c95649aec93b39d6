"""Promised figures of feature scaling."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import Figure, over
from benchmarks.results import Results
from benchmarks.scaling.measure import SAMPLES, SCALING

SHAPE = f"{SAMPLES}x64"

#: Required speedup over scikit-learn
OVER_SKLEARN = {"fit": 2, "transform": 3}

SCALERS = ("StandardScaler", "MinMaxScaler", "MaxAbsScaler")


def _over(case: str, *rivals: str, own: str = "cython") -> Callable[[Results], float | None]:
    return lambda results: over(results, *rivals, own=own, measure=SCALING, case=case, shape=SHAPE)


SCALING_FIGURES = [
    *(
        Figure(
            f"{scaler}'s {action}, 1e6 x 64, over scikit-learn's",
            _over(f"{scaler} {action}", "sklearn", "sklearn copy"), ">=", limit,
        )
        for scaler in SCALERS
        for action, limit in OVER_SKLEARN.items()
    ),
    *(
        Figure(
            f"{scaler}'s transform, 1e6 x 64, NaN not looked for, over scikit-learn's",
            _over(f"{scaler} transform", "sklearn", "sklearn copy", own="nan ignored"), ">=", OVER_SKLEARN["transform"],
        )
        for scaler in SCALERS
    ),
    Figure(
        "StandardScaler's fit, 1e6 x 64, throughput over the same-traffic bound", _over("StandardScaler fit", "bound"),
    ),
    Figure(
        "StandardScaler's transform, 1e6 x 64, NaN not looked for, throughput over the same-traffic bound",
        _over("StandardScaler transform", "bound", own="nan ignored"),
    ),
]  # fmt: skip
