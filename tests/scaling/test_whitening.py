"""Whitening: formulas, singular covariances, fewer components."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from fastopt.scaling import Whitener
from tests.scaling.test_scaling import data


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


def test_all_components_are_whitened_in_place_too():
    x = data(300, 5)
    whitener = Whitener(method="pca", n_components=5).fit(x)
    y = whitener.transform(x)
    assert np.array_equal(y, Whitener(method="pca").fit(x).transform(x))
    made = x.copy()
    whitener.transform_(made)
    assert np.array_equal(made, y)
    whitener.inverse_transform_(made)
    assert np.allclose(made, x, atol=1e-12 * abs(x).max())


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "a NaN"), (np.inf, "an infinity"), (-np.inf, "an infinity")])
def test_numbers_that_are_not_finite_are_refused(bad, what):
    x = data(300, 4, "float32")
    whitener = Whitener().fit(x)
    before = whitener.state_dict()
    x[299, 2] = bad
    kept = x.copy()
    message = f"x has {what} in feature 2, sample 299"
    calls = [whitener.fit, whitener.partial_fit, whitener.transform_, whitener.inverse_transform_]
    for call in (*calls, whitener.transform, whitener.inverse_transform):
        with pytest.raises(ValueError, match=message):
            call(x)
    out = np.ones_like(x)
    for call in (whitener.transform, whitener.inverse_transform):
        with pytest.raises(ValueError, match=message):
            call(x, out)
    assert np.all(out == 1)
    assert np.array_equal(x, kept, equal_nan=True)
    for name, value in whitener.state_dict().items():
        assert np.array_equal(value, before[name])


def test_features_that_depend_on_each_other():
    x = data(100, 3)
    x = np.c_[x, x[:, 0] - x[:, 1]]
    with pytest.raises(ValueError, match="has numerical rank 3, with 4 features; expected eps above"):
        Whitener().fit(x).transform(x)
    assert np.isfinite(Whitener(eps=1e-3).fit(x).transform(x)).all()
    assert Whitener(method="pca", n_components=3).fit(x).transform(x).shape == (100, 3)


def whitened(x, method, eps):
    """The formula, by NumPy."""
    values, vectors = np.linalg.eigh(np.cov(x.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    turned = np.where(vectors.max(0) < -vectors.min(0), -1, 1)
    y = (x - x.mean(0)) @ (vectors * turned) / np.sqrt(np.maximum(values, 0) + eps)
    return y if method == "pca" else y @ (vectors * turned).T


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6])
@pytest.mark.parametrize("batches", [[], [1, 3, 50]])
def test_constant_and_dependent_features(constant, batches):
    """Of four features, one is constant, and one follows from two others: two components have a variance."""
    x = np.random.default_rng(0).standard_normal((200, 2)) * [3, 1] + 2
    x = np.c_[x[:, 0], np.full(200, constant), x[:, 1], x[:, 0] - x[:, 1]]

    def fitted(**options):
        whitener = Whitener(**options)
        for batch in np.split(x, batches):
            whitener.partial_fit(batch)
        return whitener

    assert np.allclose(fitted().covariance, np.cov(x.T), rtol=1e-12, atol=1e-12)
    for method in ("zca", "pca"):
        with pytest.raises(ValueError, match=r"has numerical rank 2, with 4 features; .*, or PCA with n_c"):
            fitted(method=method).transform(x)
        soft = fitted(method=method, eps=0.5)
        y, want = soft.transform(x), whitened(x, method, 0.5)
        known = slice(None) if method == "zca" else slice(2)  # components of no variance are any
        assert np.allclose(y[:, known], want[:, known], atol=1e-9)
        assert np.allclose(y[:, 1 if method == "zca" else slice(2, 4)], 0, atol=1e-9)
        assert np.allclose(soft.inverse_transform(y), x, atol=1e-9 * max(1, abs(constant)))
    few = fitted(method="pca", n_components=2)
    assert np.allclose(np.cov(few.transform(x).T), np.eye(2), atol=1e-10)
    assert np.allclose(few.inverse_transform(few.transform(x)), x, atol=1e-9 * max(1, abs(constant)))
    with pytest.raises(ValueError, match="has numerical rank 2, with 4 features"):
        fitted(method="pca", n_components=3).transform(x)


def test_a_feature_that_is_constant_in_each_batch_only():
    x = np.c_[np.repeat([1.0, 2.0, 4.0], 50), np.random.default_rng(0).standard_normal(150)]
    whitener = Whitener()
    for batch in np.split(x, 3):
        whitener.partial_fit(batch)
    assert np.allclose(whitener.covariance, np.cov(x.T), rtol=1e-12)
    assert np.allclose(np.cov(whitener.transform(x).T), np.eye(2), atol=1e-12)


def test_whitening_far_from_zero():
    x = np.random.default_rng(0).standard_normal((50_000, 3)) + 1e6
    whitener = Whitener().fit(x)
    assert np.allclose(whitener.covariance, np.cov(x.T), rtol=1e-7, atol=1e-9)
    exact = [math.fsum(feature) / len(x) for feature in x.T]
    assert np.all(abs(whitener.mean - exact) <= np.spacing(1e6))


def test_whitening_where_a_mean_is_rounded_by_as_much_as_features_vary():
    deviations = np.random.default_rng(0).integers(0, 4, (50_001, 2)) * 2.0**-22
    whitener = Whitener().fit(1.7e9 + deviations)
    assert np.allclose(whitener.covariance / np.cov(deviations.T), 1, atol=1e-9)


@pytest.mark.parametrize("outlier", [1, 100])
@pytest.mark.parametrize(("samples", "features", "rank"), [(200_000, 2, 1), (100_000, 3, 2), (5000, 10, 9)])
def test_rounding_is_not_taken_for_variance(samples, features, rank, outlier):
    """Nor where the first sample lies far away, from which nothing is measured therefore."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((samples, rank)) @ rng.standard_normal((rank, features))
        x[0] *= outlier
        with pytest.raises(ValueError, match=f"has numerical rank {rank}, with {features} features"):
            Whitener().fit(x).transform(x)


def test_a_covariance_of_rank_0():
    """Of constant features, of one sample, and of squares that have few digits left."""
    for x in (np.full((9, 2), 3.0), np.ones((1, 2)), data(9, 2) * 1e-158):
        with pytest.raises(ValueError, match=r"numerical rank 0, with 2 features; expected eps above 1[.0-9]*e-292$"):
            Whitener().fit(x).transform(x)
        assert np.allclose(Whitener(eps=1).fit(x).transform(x), 0)


def test_eps_that_is_lost():
    x = data(100, 2)
    x = np.c_[x, x[:, 0]]
    whitener = Whitener(eps=1e-30).fit(x)
    with pytest.raises(ValueError, match="expected eps above ") as error:
        whitener.transform(x)
    enough = float(re.search("eps above (.*),", str(error.value))[1])
    assert 1e-30 < enough < 1e-12 * whitener.covariance.max()
    assert np.isfinite(Whitener(eps=2 * enough).fit(x).transform(x)).all()


def test_any_eps_above_the_one_that_is_told_is_enough():
    """Also where rounding has made an eigenvalue of 0 negative."""
    negative = 0
    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal((300, 2))
        x = np.c_[x, x[:, 0] - x[:, 1]]
        whitener = Whitener().fit(x)
        with pytest.raises(ValueError, match="expected eps above ") as error:
            whitener.transform(x)
        enough = float(re.search("eps above (.*),", str(error.value))[1])
        negative += np.linalg.eigvalsh(whitener.covariance)[0] < 0
        assert np.isfinite(Whitener(eps=1.0001 * enough).fit(x).transform(x)).all()
    assert negative > 1


def test_what_overflows_is_refused_without_warnings():
    x = np.array([[1e200, 1], [-1e200, 2], [1e200, 4]])
    for whitener in (Whitener().fit(x), Whitener().fit(x[:2]).partial_fit(x[2:])):
        with pytest.raises(ValueError, match="the covariance of the fitted data is not finite in float64"):
            whitener.transform(x)


@pytest.mark.parametrize("components", [1, 2])
def test_outs_of_few_components(components):
    """What overlaps x, or has x's shape, is refused: though it begin where x does, and could be broadcast to."""
    x = data(6, 4)
    whitener = Whitener(method="pca", n_components=components).fit(x)
    before = x.copy()
    for out in (x[:, :components], x[:, 1 : 1 + components]):
        with pytest.raises(ValueError, match="out overlaps x in memory"):
            whitener.transform(x, out)
    for out in (x, x[:]):
        with pytest.raises(ValueError, match=rf"out has shape \(6, 4\); expected \(6, {components}\)"):
            whitener.transform(x, out)
    with pytest.raises(ValueError, match="out overlaps x in memory"):
        whitener.inverse_transform(x[:, :components], x)
    assert np.array_equal(x, before)
