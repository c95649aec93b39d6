"""Whitening: formulas, covariances that have no inverse, fewer components."""

from __future__ import annotations

import numpy as np
import pytest

from fastopt.scaling import Whitener
from tests.test_scaling import data


@pytest.mark.parametrize("method", ["zca", "pca"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whitening(method, dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((5000, 6)) @ rng.standard_normal((6, 6)) + rng.normal(size=6)).astype(dtype)
    before, close = x.copy(), 1e-4 if dtype == "float32" else 1e-10
    whitener = Whitener(method=method).fit(x)
    assert np.allclose(whitener.covariance, np.cov(x.T.astype("float64")), rtol=1e-10, atol=1e-10)
    whitener.transform_(x)
    assert np.allclose(np.cov(x.T.astype("float64")), np.eye(6), atol=close)
    assert np.allclose(x.mean(0, dtype="float64"), 0, atol=close)
    assert np.array_equal(whitener.transform(before), x)
    if method == "zca":  # W is symmetric, and the inverse root of the covariance
        w = whitener.transform(np.eye(6)) - whitener.transform(np.zeros((6, 6)))
        assert np.allclose(w, w.T, atol=1e-10)
        assert np.allclose(w @ whitener.covariance @ w, np.eye(6), atol=1e-9)
    whitener.inverse_transform_(x)
    assert np.allclose(x, before, atol=close * abs(before).max())


def test_few_components():
    x = data(300, 5) @ np.random.default_rng(3).normal(size=(5, 5))
    whitener = Whitener(method="pca", n_components=2).fit(x)
    y = whitener.transform(x)
    assert y.shape == (300, 2)
    assert np.allclose(y, Whitener(method="pca").fit(x).transform(x)[:, :2])
    out = np.full((300, 2), np.nan)
    assert whitener.transform(x, out) is out
    assert np.array_equal(out, y)
    assert whitener.inverse_transform(y).shape == (300, 5)
    before = x.copy()
    with pytest.raises(ValueError, match="n_components is 2; expected None in place"):
        whitener.transform_(x)
    assert np.array_equal(x, before)


def test_features_that_depend_on_each_other():
    x = data(100, 3)
    x = np.c_[x, x[:, 0] - x[:, 1]]
    with pytest.raises(ValueError, match="has rank 3, of 4 features; expected eps above 0"):
        Whitener().fit(x).transform(x)
    assert np.isfinite(Whitener(eps=1e-3).fit(x).transform(x)).all()
    assert Whitener(method="pca", n_components=3).fit(x).transform(x).shape == (100, 3)


def test_whitening_far_from_zero():
    x = np.random.default_rng(0).standard_normal((50_000, 3)) + 1e6
    assert np.allclose(Whitener().fit(x).covariance, np.cov(x.T), rtol=1e-7, atol=1e-9)
