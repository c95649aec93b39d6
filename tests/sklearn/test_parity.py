"""Results and fitted attributes beside those of scikit-learn's scalers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.peers import peer

ours = peer("fastopt.sklearn")
theirs = peer("sklearn.preprocessing")
sparse = peer("scipy.sparse")

pytestmark = pytest.mark.peers

CASES = [
    ("StandardScaler", {}),
    ("StandardScaler", {"with_mean": False}),
    ("StandardScaler", {"with_std": False}),
    ("StandardScaler", {"with_mean": False, "with_std": False}),
    ("MinMaxScaler", {}),
    ("MinMaxScaler", {"feature_range": (-2.5, 7.0)}),
    ("MinMaxScaler", {"clip": True}),
    ("MaxAbsScaler", {}),
    ("MaxAbsScaler", {"clip": True}),
]
ATTRIBUTES = (
    *("mean_", "var_", "scale_", "n_samples_seen_", "min_", "data_min_", "data_max_", "data_range_", "max_abs_"),
    "n_features_in_",
)
LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[::-1, ::2],
    "misaligned": lambda x: misaligned(x),
    "list": lambda x: x.tolist(),
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
}

every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name} {options}" for name, options in CASES])


def misaligned(x):
    memory = np.zeros(x.nbytes + 1, "u1")[1:].view(x.dtype).reshape(x.shape)
    memory[...] = x
    return memory


def data(dtype="float64", samples=500, features=7, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, features)) * 10.0 ** rng.integers(-2, 3, features) + rng.normal(size=features)
    x[:, 2] = 0
    x[:, 3] = 2.5
    return x.astype(dtype)


def with_nan(x):
    x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    return x


def pair(name, options):
    return getattr(ours, name)(**options), getattr(theirs, name)(**options)


def assert_same(got, wanted, close):
    for name in ATTRIBUTES:
        assert hasattr(got, name) == hasattr(wanted, name), name
        mine, other = getattr(got, name, None), getattr(wanted, name, None)
        if other is None:
            assert mine is None, name
        else:
            assert np.shape(mine) == np.shape(other), name
            assert np.allclose(mine, other, rtol=close, atol=close, equal_nan=True), name
            if name != "n_samples_seen_":
                assert np.asarray(mine).dtype == np.asarray(other).dtype, name


def closeness(dtype):
    return {"float64": 1e-11, "float32": 1e-5, "float16": 5e-2}.get(np.dtype(dtype).name, 1e-11)


@every_case
@pytest.mark.parametrize("missing", [False, True], ids=["", "NaN"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_results(name, options, dtype, missing):
    x, close = data(dtype), closeness(dtype)
    if missing:
        x = with_nan(x)
    got, wanted = pair(name, options)
    half = x[: len(x) // 2]  # the rest may leave the range
    assert_same(got.fit(half), wanted.fit(half), close)
    kept = x.copy()
    y, z = got.transform(x), wanted.transform(x)
    assert np.array_equal(x, kept, equal_nan=True)
    assert y.dtype == z.dtype == dtype
    assert np.allclose(y, z, rtol=close, atol=close, equal_nan=True)
    assert np.allclose(
        got.inverse_transform(y), wanted.inverse_transform(z), rtol=close, atol=100 * close, equal_nan=True
    )


@every_case
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "bool"])
def test_integers(name, options, dtype):
    x = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (200, 5)).astype(dtype)
    got, wanted = pair(name, options)
    assert_same(got.fit(x), wanted.fit(x), 1e-12)
    y = got.transform(x)
    assert y.dtype == np.float64
    assert np.allclose(y, wanted.transform(x), rtol=1e-12, atol=1e-12)


@every_case
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(name, options, layout):
    given = LAYOUTS[layout](data())
    got, wanted = pair(name, options)
    plain = data()[::-1] if layout == "strided" else data()
    kept = np.array(given)
    assert np.allclose(got.fit(given).transform(given), wanted.fit_transform(plain), rtol=1e-11, atol=1e-11)
    assert np.array_equal(np.array(given), kept)


@every_case
@pytest.mark.parametrize("missing", [False, True], ids=["", "NaN"])
def test_batches(name, options, missing):
    x = with_nan(data()) if missing else data()
    got, wanted = pair(name, options)
    for batch in np.split(x, [10, 11, 300]):
        if missing and len(batch) == 1:
            continue  # a feature without values stays NaN in scikit-learn
        assert_same(got.partial_fit(batch), wanted.partial_fit(batch), 1e-9)
    assert np.allclose(got.transform(x), wanted.transform(x), rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", ["StandardScaler", "MinMaxScaler", "MaxAbsScaler", "MeanNormalizer"])
def test_a_batch_without_values(name):
    """NaN is disregarded, whatever the batch: scikit-learn's min-max and z-scores stay NaN from then on."""
    x = data()[:, :2]
    empty = np.column_stack([np.full(5, np.nan), np.arange(5.0)])
    scaler = getattr(ours, name)()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(scaler.fit(empty).transform(x)[:, 0]).all()
        before = scaler.partial_fit(x).transform(x)[:, 0]
        after = scaler.partial_fit(empty).transform(x)[:, 0]
    wanted = getattr(ours, name)().fit(x[:, :1]).transform(x[:, :1])[:, 0]
    assert np.allclose(before, wanted, rtol=1e-12)
    assert np.allclose(after, wanted, rtol=1e-12)


@pytest.mark.parametrize("missing", [False, True], ids=["", "NaN"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_weights(dtype, missing, scale):
    x, close = data(dtype, samples=3000, features=50), closeness(dtype)
    if missing:
        x = with_nan(x)
    weights = np.random.default_rng(2).random(len(x)) ** 8 * scale
    weights[::7] = 0
    got, wanted = pair("StandardScaler", {})
    for rows in (slice(0, 1000), slice(1000, 3000)):
        got.partial_fit(x[rows], sample_weight=weights[rows])
        with np.errstate(invalid="ignore"):  # the root of a constant feature's variance, -1e-20
            wanted.partial_fit(x[rows], sample_weight=weights[rows])
    exact = [np.average(column[~np.isnan(column)], weights=weights[~np.isnan(column)]) for column in x.T.astype("f8")]
    assert np.allclose(got.mean_, exact, rtol=1e-12)
    assert got.scale_[2:4].tolist() == [1, 1]
    assert np.allclose(got.n_samples_seen_, wanted.n_samples_seen_, rtol=close)
    varying = np.delete(np.arange(50), [2, 3])  # a constant feature's variance is a rounding in scikit-learn
    assert np.allclose(got.var_[varying], wanted.var_[varying], rtol=20 * close)
    assert np.allclose(
        got.transform(x)[:, varying], wanted.transform(x)[:, varying], rtol=close, atol=20 * close, equal_nan=True
    )


def test_weights_count_samples():
    x = data(samples=100)
    weights = np.random.default_rng(0).integers(0, 4, 100)
    got = ours.StandardScaler().fit(x, sample_weight=weights)
    wanted = ours.StandardScaler().fit(np.repeat(x, weights, axis=0))
    assert_same(got, wanted, 1e-12)


@pytest.mark.parametrize("kind", ["csr_array", "csc_array", "csr_matrix", "csc_matrix"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
@pytest.mark.parametrize(("name", "options"), [("StandardScaler", {"with_mean": False}), ("MaxAbsScaler", {})])
def test_sparse(name, options, kind, dtype):
    x = (np.random.default_rng(0).standard_normal((300, 6)) * 50).astype(dtype)
    x[np.random.default_rng(1).random(x.shape) < 0.7] = 0
    x[:, 1] = 0
    if dtype != "int32":
        x[5, 2] = np.nan
    close, matrix = closeness(dtype), getattr(sparse, kind)(x)
    kept = matrix.copy()
    got, wanted = pair(name, options)
    dense, _ = pair(name, options)
    for begin in (0, 100):
        rows = slice(begin, 100 + 2 * begin)
        got.partial_fit(getattr(sparse, kind)(x[rows]))
        wanted.partial_fit(getattr(sparse, kind)(x[rows]))
        dense.partial_fit(x[rows])
    assert_same(got, wanted, close)
    assert_same(dense, wanted, close)
    y, z = got.transform(matrix), wanted.transform(matrix)
    assert type(y) is type(z)
    assert y.dtype == z.dtype
    assert np.allclose(y.toarray(), z.toarray(), rtol=close, equal_nan=True)
    assert np.allclose(y.toarray(), dense.transform(x), rtol=close, equal_nan=True)
    assert np.allclose(got.inverse_transform(y).toarray(), x, rtol=close, equal_nan=True)
    assert np.array_equal(matrix.toarray(), kept.toarray(), equal_nan=True)


def test_sparse_in_place():
    matrix = sparse.csr_array(np.diag([1.0, -2.0, 4.0]))
    made = ours.MaxAbsScaler(copy=False).fit(matrix).transform(matrix)
    assert np.shares_memory(made.data, matrix.data)
    assert made.toarray().tolist() == np.diag([1.0, -1.0, 1.0]).tolist()


def test_sparse_refused():
    matrix = sparse.csr_array(data())
    with pytest.raises(ValueError, match="Cannot center sparse matrices"):
        ours.StandardScaler().fit(matrix)
    scaler = ours.StandardScaler().fit(data())
    for call in (scaler.transform, scaler.inverse_transform):
        with pytest.raises(ValueError, match="Cannot center sparse matrices"):
            call(matrix)
    for kind in (ours.MinMaxScaler, ours.MeanNormalizer, ours.Whitener):
        with pytest.raises(TypeError, match=r"[Ss]parse"):
            kind().fit(matrix)
    matrix.data[3] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        ours.MaxAbsScaler().fit(matrix)


@pytest.mark.parametrize("name", ["StandardScaler", "MinMaxScaler", "MeanNormalizer"])
@pytest.mark.parametrize("fitted_in", ["float32", "float64"])
def test_far_from_zero(name, fitted_in):
    """In float32, an offset costs no digits, where scikit-learn's results are off by 0.03 and more."""
    x = (np.random.default_rng(0).standard_normal((1000, 3)) + 1e6).astype("float32")
    scaler = getattr(ours, name)()
    wanted = scaler.fit(x.astype("float64")).transform(x.astype("float64"))
    got = scaler.fit(x.astype(fitted_in)).transform(x)
    assert got.dtype == np.float32
    assert np.allclose(got, wanted, atol=1e-6)
    back = scaler.inverse_transform(got)
    assert np.abs(back - x).max() <= 0.0625  # a rounding at 1e6


def test_the_maximum_becomes_the_end_of_the_range():
    for dtype in ("float64", "float32", "float16"):
        x = data(dtype)
        made = ours.MinMaxScaler().fit_transform(x)
        assert made.min() == 0
        assert np.array_equal(made.max(axis=0)[[0, 1, 4, 5, 6]], np.ones(5))
        assert abs(ours.MaxAbsScaler().fit_transform(x)).max() == 1


def test_assigned_attributes():
    """scikit-learn's transforms read the fitted attributes: scalers are made from numbers like that."""
    x = data()
    for name, values in {
        "StandardScaler": {"mean_": np.arange(7.0), "scale_": np.arange(1.0, 8)},
        "MinMaxScaler": {"scale_": np.arange(1.0, 8), "min_": np.arange(7.0)},
        "MaxAbsScaler": {"scale_": np.arange(1.0, 8)},
    }.items():
        for fitted in (False, True):
            got, wanted = pair(name, {})
            for scaler in (got, wanted):
                if fitted:
                    scaler.fit(x)
                vars(scaler).update(values)
            assert np.allclose(got.transform(x), wanted.transform(x), rtol=1e-12, atol=1e-12)
            assert np.allclose(got.inverse_transform(x), wanted.inverse_transform(x), rtol=1e-12, atol=1e-12)
    got, wanted = (scaler.fit(x).set_params(feature_range=(3, 9)) for scaler in pair("MinMaxScaler", {}))
    assert np.allclose(got.transform(x), wanted.transform(x), rtol=1e-12, atol=1e-12)


def test_numbers_out_of_range():
    huge, tiny = data() * 1e200, data()[:, :1] * 1e-160
    for x, message in ((huge, "squared deviations overflow"), (tiny, "squared deviations underflow")):
        with pytest.raises(ValueError, match=message):
            ours.StandardScaler().fit(x)
    scaler = ours.StandardScaler().fit(data() * 1e60)
    with pytest.raises(ValueError, match=r"feature 0 would have a centre of -?inf in float32"):
        scaler.transform(data("float32"))


@pytest.mark.parametrize("components", [None, 3])
def test_whitening(components):
    decomposition = peer("sklearn.decomposition")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 5)) @ rng.standard_normal((5, 5)) + 3
    got = ours.Whitener(method="pca", n_components=components).fit(x)
    wanted = decomposition.PCA(whiten=True, n_components=components, svd_solver="full").fit(x)
    y, z = got.transform(x), wanted.transform(x)
    assert np.allclose(y, z * np.sign((y * z).sum(0)), atol=1e-9)
    assert np.allclose(got.inverse_transform(y), wanted.inverse_transform(z), atol=1e-9)
    assert np.allclose(got.covariance_, np.cov(x.T))
    assert np.allclose(got.mean_, x.mean(0))
    assert got.n_samples_seen_ == 300
    zca = ours.Whitener()
    for batch in np.split(x, [2, 3, 100]):
        zca.partial_fit(batch)
    made = zca.transform(x)
    assert np.allclose(np.cov(made.T), np.eye(5))
    assert np.allclose(zca.inverse_transform(made), x)
    with pytest.raises(ValueError, match="contains NaN"):
        zca.transform(np.full((1, 5), np.nan))
