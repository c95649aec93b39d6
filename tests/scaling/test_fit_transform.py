"""Feature scaling: `fit` and `partial_fit` take y, as scikit-learn's do; `fit_transform_` fits and scales in place."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fastopt.engine.scaling.scaling import is_finite, scaled_and_finite
from fastopt.scaling import MaxAbsScaler, MeanNormalizer, MinMaxScaler, StandardScaler, Whitener
from tests.support import bits

kinds = pytest.mark.parametrize("kind", [MinMaxScaler, MeanNormalizer, StandardScaler, MaxAbsScaler, Whitener])


def data(samples=50, features=3):
    return np.random.default_rng(0).standard_normal((samples, features))


@kinds
def test_y_is_ignored(kind):
    x = data()
    for method in ("fit", "partial_fit"):
        plain, given = kind(), kind()
        assert getattr(plain, method)(x) is plain
        assert getattr(given, method)(x, object()) is given
        assert pickle.dumps(plain) == pickle.dumps(given)


@kinds
def test_fit_transform_in_place(kind):
    x, scaler = data(), kind()
    wanted = kind().fit(x).transform(x)
    assert scaler.fit_transform_(x) is None
    assert np.array_equal(bits(x), bits(wanted))
    y = data()
    scaler.fit_transform_(y, None)
    assert np.array_equal(bits(y), bits(wanted))


@pytest.mark.parametrize("fitted", [False, True])
def test_fit_transform_changes_nothing_with_an_error(fitted):
    x = data()
    x[:, 1] = 2.0
    whitener = Whitener()
    if fitted:
        whitener.fit(data(features=2))
    before, kept = pickle.dumps(whitener), x.copy()
    with pytest.raises(ValueError, match="has numerical rank 2"):
        whitener.fit_transform_(x)
    assert pickle.dumps(whitener) == before
    assert np.array_equal(bits(x), bits(kept))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_finiteness(dtype):
    for layout in (np.ascontiguousarray, np.asfortranarray, lambda x: x[::2, ::-1]):
        x = layout(data(3000, 5).astype(dtype))
        assert is_finite(x, None)
        for value in (np.nan, np.inf, -np.inf):
            for where in ((0, 0), (-1, -1), (700, 2)):
                y = x.copy()
                y[where] = value
                assert not is_finite(y, 2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3000, 5), (2000, 64), (300, 700), (40_000, 1), (1, 9)])
def test_scaled_and_finite(dtype, shape):
    """One pass has the bits of two: results are those of a transform, and so is what is said of x."""
    scaler = StandardScaler(nan="ignore").fit(data(100, shape[1]))
    for layout in (np.ascontiguousarray, np.asfortranarray, lambda x: x[::-1, ::-1]):
        x = layout(data(*shape).astype(dtype))
        for value in (0, np.nan, np.inf, -np.inf):
            for where in ((0, 0), (-1, -1), (shape[0] // 2, shape[1] // 2)):
                x[where] = value
                made, finite = scaled_and_finite(x, shape[1], scaler._scales, 2)
                assert finite == np.isfinite(x).all() == is_finite(x, 2)
                assert made.dtype == x.dtype
                assert np.array_equal(bits(made), bits(scaler.transform(x)))
            x[...] = data(*shape)
