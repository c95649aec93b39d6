"""Random calls of scalers and whitening."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastopt.scaling
from benchmarks.bits.call import CYTHON_ONLY, Call, Options, calls_of
from benchmarks.bits.inputs import Inputs, hyperparameters

FEATURES = [1, 2, 7, 16, 33, 200]
SAMPLES = [1, 3, 50, 127, 1023]
LARGE = [(300_007, 1), (100_003, 3), (1023, 300)]


def scaling_calls() -> list[Call]:
    """Return calls of every scaler, from fit to inverse transform."""
    scalers = ("MinMaxScaler", "MeanNormalizer", "StandardScaler", "MaxAbsScaler")
    calls = [call for name in scalers for call in calls_of(name, 60, lambda *given, name=name: scaler(name, *given))]
    return calls + calls_of("Whitener", 40, whitener, backends=CYTHON_ONLY)


def scaler(name: str, inputs: Inputs, options: Options) -> Any:
    """Fit three batches, one of them with another scaler, and call every transform."""
    make = getattr(fastopt.scaling, name)
    samples, features = inputs.choice("shape", [(n, f) for n in SAMPLES for f in FEATURES])
    if inputs.chance("is large", 0.05):
        samples, features = inputs.choice("large shape", LARGE)
    numbers = hyperparameters(make, inputs, feature_range=lambda inputs, name: (-1.0, inputs.uniform(name, 0, 5)))
    numbers["nan"] = inputs.choice("nan", ["refuse", "ignore"])

    def data(name: str, rows: int) -> np.ndarray:
        values = inputs.rng(name).standard_normal((rows, features)) + inputs.choice("mean", [0, 0, 10, 1e3])
        if inputs.chance("a constant feature", 0.2):
            values[:, 0] = 3.0
        if numbers["nan"] == "ignore" and inputs.chance(f"{name} has NaN"):
            values.flat[inputs.whole(f"{name} NaN", 0, values.size - 1)] = np.nan
        return inputs.place(name, values, inputs.dtype(name))

    x, batch, theirs = data("x", samples), data("batch", samples // 2 + 1), data("theirs", samples)
    ours, other = make(**numbers, **options), make(**numbers, **options)
    ours.fit(x).partial_fit(batch)
    ours.merge(other.fit(theirs))
    seen = [ours.transform(x), ours.transform(batch, inputs.array("out", batch.shape, special=False))]
    ours.transform_(x)
    seen += [np.array(x), ours.inverse_transform(x)]
    ours.inverse_transform_(x)
    return seen, ours.state_dict(), [np.asarray(getattr(ours, each)) for each in ("mean", "var", "min", "max")]


def whitener(inputs: Inputs, options: Options) -> Any:
    """Whiten enough samples for all components."""
    features = inputs.choice("features", [1, 2, 7, 16])
    components = inputs.choice("components", [None, None, features // 2 + 1])
    method = inputs.choice("method", ["zca", "pca"]) if components is None else "pca"
    make = {"method": method, "n_components": components, "eps": inputs.choice("eps", [0.0, 1e-3])}
    ours, other = (fastopt.scaling.Whitener(**make, **options) for _ in range(2))
    x, batch, theirs = (inputs.array(each, (200, features), special=False) for each in ("x", "batch", "theirs"))
    ours.fit(x).partial_fit(batch).merge(other.fit(theirs))
    y = ours.transform(x)
    if components is None:
        ours.transform_(batch)
    return y, ours.inverse_transform(y), ours.state_dict(), ours.covariance
