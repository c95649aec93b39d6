"""Feature scaling against scikit-learn's scalers."""

from __future__ import annotations

import numpy as np
import pytest

from fastopt.scaling import MaxAbsScaler, MinMaxScaler, StandardScaler, Whitener
from tests.peers import peer

base = peer("sklearn.base")
preprocessing = peer("sklearn.preprocessing")
decomposition = peer("sklearn.decomposition")


def data(dtype, samples=3000, features=12, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, features)) @ rng.standard_normal((features, features))
    return (x + 5 * rng.standard_normal(features)).astype(dtype)


#: Ours, theirs, and what they call the same.
SCALERS = [
    (StandardScaler(), preprocessing.StandardScaler(), {"mean": "mean_", "var": "var_", "count": "n_samples_seen_"}),
    (StandardScaler(with_mean=False), preprocessing.StandardScaler(with_mean=False), {"var": "var_"}),
    (StandardScaler(with_std=False), preprocessing.StandardScaler(with_std=False), {"mean": "mean_"}),
    (MinMaxScaler(), preprocessing.MinMaxScaler(), {"min": "data_min_", "max": "data_max_"}),
    (MinMaxScaler(feature_range=(-2, 7)), preprocessing.MinMaxScaler(feature_range=(-2, 7)), {"min": "data_min_"}),
    (MaxAbsScaler(), preprocessing.MaxAbsScaler(), {}),
]

every_scaler = pytest.mark.parametrize(("ours", "theirs", "same"), SCALERS, ids=[repr(s[0]) for s in SCALERS])


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_scaler
def test_scalers(ours, theirs, same, dtype):
    x, close = data(dtype), 1e-12 if dtype == "float64" else 3e-6
    want = theirs.fit(x).transform(x)
    got = ours.fit(x).transform(x)
    assert got.dtype == want.dtype
    assert np.allclose(got, want, rtol=close, atol=close)
    assert np.allclose(ours.inverse_transform(got), theirs.inverse_transform(want), rtol=close, atol=10 * close)
    for name, other in same.items():
        assert np.allclose(getattr(ours, name), getattr(theirs, other), rtol=close)


@pytest.mark.peers
@every_scaler
def test_batches_and_missing_values(ours, theirs, same):
    x = data("float64")
    x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    x[:, 3] = 2.5
    options = {name: getattr(ours, name) for name in ours._options}
    ignoring, theirs = type(ours)(**{**options, "nan": "ignore"}), base.clone(theirs)
    for batch in np.split(x, [10, 11, 1000]):
        ignoring.partial_fit(batch)
        theirs.partial_fit(batch)
    got, want = ignoring.transform(x), theirs.transform(x)
    assert np.allclose(got, want, rtol=1e-10, atol=1e-12, equal_nan=True)


@pytest.mark.peers
@pytest.mark.parametrize("components", [None, 3])
def test_whitening(components):
    x = data("float64")
    want = decomposition.PCA(whiten=True, n_components=components, svd_solver="full").fit(x)
    ours = Whitener(method="pca", n_components=components).fit(x)
    got, theirs = ours.transform(x), want.transform(x)
    signs = np.sign((got * theirs).sum(0))
    assert np.allclose(got, theirs * signs, atol=1e-9)
    assert np.allclose(ours.inverse_transform(got), want.inverse_transform(theirs), atol=1e-9)


@pytest.mark.peers
def test_bfloat16_of_torch():
    """A new array is of the same dtype, though NumPy knows none such; whitening writes none from DLPack."""
    torch = peer("torch")
    x = torch.arange(12.0).reshape(6, 2).to(torch.bfloat16)
    scaler = MinMaxScaler(feature_range=(0, 5)).fit(x)
    y = scaler.transform(x)
    assert y.dtype.name == "bfloat16"
    assert np.array_equal(y.astype("float32"), np.repeat(np.arange(6.0), 2).reshape(6, 2))
    out = torch.zeros_like(x)
    assert scaler.transform(x, out) is out
    assert np.array_equal(out.float().numpy(), y.astype("float32"))
    whitener = Whitener(eps=1).fit(x)
    before = x.clone()
    for call in (whitener.transform, whitener.transform_, whitener.inverse_transform, whitener.inverse_transform_):
        with pytest.raises(TypeError, match="x is a bfloat16 array from DLPack"):
            call(x)
    for plain in (whitener, MinMaxScaler(backend="reference").fit(x)):
        with pytest.raises(TypeError, match="out is a bfloat16 array from DLPack"):
            plain.transform(np.ones((6, 2), "float32"), x)
    assert torch.equal(x, before)
    assert np.isfinite(whitener.transform(x, np.zeros((6, 2)))).all()
