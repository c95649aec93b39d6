"""Feature scaling: formulas, accuracy, merging, constant features and NaN, in place and out of place, state."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastopt.scaling import MaxAbsScaler, MeanNormalizer, MinMaxScaler, StandardScaler, Whitener
from tests.support import assert_same_bits, run_python

# ---- Formulas, in float64


def min_max(x, lo=0.0, hi=1.0):
    return (x - x.min(0)) / (x.max(0) - x.min(0)) * (hi - lo) + lo


#: Each scaler, and what it makes of x.
FORMULAS = [
    (MinMaxScaler(), min_max),
    (MinMaxScaler(feature_range=(-3, 5.5)), lambda x: min_max(x, -3, 5.5)),
    (MeanNormalizer(), lambda x: (x - x.mean(0)) / (x.max(0) - x.min(0))),
    (StandardScaler(), lambda x: (x - x.mean(0)) / x.std(0)),
    (StandardScaler(unbiased=True), lambda x: (x - x.mean(0)) / x.std(0, ddof=1)),
    (StandardScaler(with_std=False), lambda x: x - x.mean(0)),
    (StandardScaler(with_mean=False), lambda x: x / x.std(0)),
    (MaxAbsScaler(), lambda x: x / abs(x).max(0)),
]
SCALERS = [scaler for scaler, _ in FORMULAS]

formulas = pytest.mark.parametrize(("scaler", "formula"), FORMULAS, ids=[repr(scaler) for scaler in SCALERS])
scalers = pytest.mark.parametrize("scaler", SCALERS, ids=repr)


def fresh(scaler):
    return pickle.loads(pickle.dumps(scaler))


def data(samples, features, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.integers(-3, 4, features)
    return (rng.standard_normal((samples, features)) * spread + rng.normal(size=features) * spread).astype(dtype)


SHAPES = [(2, 1), (3, 5), (1000, 1), (513, 3), (100, 64), (70, 700), (5000, 17)]


@pytest.mark.parametrize("first", [None, 4.0, 1000.0])
@pytest.mark.parametrize("samples", [5, 17, 100, 2048, 2049, 30_000])
@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, np.asfortranarray, lambda x: x[::-1]], ids=["C", "F", "turned"]
)
def test_means_of_float64_are_exact_to_roundings(layout, samples, first):
    """Whatever the first sample is, from which deviations used to be measured: 9e-15 standard deviations were lost."""
    x = np.random.default_rng(3).standard_normal((samples, 20))
    if first is not None:
        x[0] = first
    x = layout(x)
    exact = np.array([math.fsum(column) / samples for column in x.T])
    scaler = StandardScaler().fit(x)
    assert np.all(abs(scaler.mean - exact) <= 1e-15 * x.std(axis=0))
    np.testing.assert_allclose(scaler.var, x.var(axis=0), rtol=1e-13)


@pytest.mark.parametrize("samples", [10, 1000, 5000])
def test_means_of_whole_numbers_are_right_to_an_ulp(samples):
    x = np.random.default_rng(3).integers(-1000, 5000, (samples, 20)).astype(np.float64)
    np.testing.assert_allclose(StandardScaler().fit(x).mean, x.sum(axis=0) / samples, rtol=2.3e-16)


def test_a_few_samples_that_overflow_or_are_unknown_leave_the_mean():
    x = np.random.default_rng(3).standard_normal((4000, 3))
    x[:2000, 1] = np.nan
    x[16::32, 2], x[::32, 2] = 1e300, -1e300
    scaler = StandardScaler(nan="ignore").fit(x)
    np.testing.assert_allclose(scaler.mean[:2], np.nanmean(x[:, :2], axis=0), rtol=0, atol=1e-15)
    assert np.isfinite(scaler.mean[2])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@formulas
def test_formulas(scaler, formula, shape):
    x = data(*shape)
    want = formula(x)
    got = fresh(scaler).fit(x).transform(x)
    assert np.allclose(got, want, rtol=1e-12, atol=1e-12 * abs(want).max())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@formulas
def test_float32_is_rounded_little(scaler, formula, shape):
    """Subtraction, division, two roundings more: within 4 ulp of the largest result of the feature."""
    x = data(*shape, dtype="float32")
    want = formula(x.astype("float64"))
    got = fresh(scaler).fit(x).transform(x)
    assert got.dtype == np.float32
    assert np.all(abs(got - want) <= 4 * np.spacing(abs(want).max(0).astype("float32")))


@formulas
def test_in_place_and_back(scaler, formula):
    for dtype, digits in (("float64", 1e-13), ("float32", 1e-5)):
        x = data(700, 9, dtype)
        before = x.copy()
        fitted = fresh(scaler).fit(x)
        assert np.array_equal(x, before)
        assert fitted.transform_(x) is None
        assert np.array_equal(x, fitted.transform(before))
        assert fitted.inverse_transform_(x) is None
        assert np.all(abs(x - before) <= digits * abs(before).max(0))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@formulas
def test_reference(scaler, formula, dtype):
    """The plain formulas, in float64, whose results are rounded once; in place, into another type, and back."""
    x = data(300, 5, dtype) if dtype != "float16" else np.random.default_rng(0).standard_normal((300, 5)).astype(dtype)
    want = formula(x.astype("float64"))
    reference = fresh(scaler)
    reference.backend = "reference"
    reference.fit(x)
    for name, value in (("mean", x.mean(0, "f8")), ("var", x.var(0, "f8")), ("min", x.min(0)), ("max", x.max(0))):
        assert np.allclose(getattr(reference, name), value, rtol=1e-12)
    y = reference.transform(x, np.empty(x.shape))
    assert np.allclose(y, want, rtol=1e-12, atol=1e-12 * abs(want).max())
    assert np.array_equal(reference.transform(x), y.astype(dtype))
    assert np.allclose(reference.inverse_transform(y), x.astype("float64"), rtol=1e-12, atol=1e-12 * abs(y).max())
    reference.transform_(x)
    assert np.array_equal(x, y.astype(dtype))


def test_reference_far_from_zero():
    """Where a mean's rounding is as large as the deviations."""
    deviations = np.random.default_rng(0).integers(0, 4, (100_000, 2)) * 2.0**-22
    x, exact = 1.7e9 + deviations, deviations.var(0)
    for backend in (None, "reference"):
        scaler = StandardScaler(backend=backend).fit(x)
        assert np.all(abs(scaler.var / exact - 1) < 1e-9)
        assert np.all(abs(scaler.transform(x).std(0) - 1) < 1e-6)


def test_signalling_nan_is_one():
    x = np.array([[0x7F800001], [0x3F800000]], "u4").view("f4")
    for backend in (None, "reference"):
        with pytest.raises(ValueError, match="x has a NaN in feature 0, sample 0"):
            StandardScaler(backend=backend).fit(x)
        assert StandardScaler(nan="ignore", backend=backend).fit(x).count == 1


def test_reference_and_nan():
    x = data(50, 4, "float32")
    x[3, 2] = np.nan
    for call in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="x has a NaN in feature 2, sample 3"):
            getattr(StandardScaler(backend="reference"), call)(x)
    fitted = StandardScaler(backend="reference").fit(x[10:])
    before = x.copy()
    with pytest.raises(ValueError, match="x has a NaN in feature 2, sample 3"):
        fitted.transform_(x)
    assert np.array_equal(x, before, equal_nan=True)
    x[:, 1] = np.nan
    here, plain = (StandardScaler(nan="ignore", backend=backend).fit(x) for backend in (None, "reference"))
    assert np.array_equal(plain.count, [50, 0, 49, 50])
    for name in ("mean", "var", "min", "max"):
        assert np.allclose(getattr(plain, name), getattr(here, name), rtol=1e-12, equal_nan=True)
    assert np.allclose(plain.transform(x), here.transform(x), rtol=1e-5, atol=1e-6, equal_nan=True)
    x[:, 3] = np.inf
    with pytest.raises(ValueError, match="x has an infinity in feature 3"):
        plain.fit(x)


@pytest.mark.parametrize("backend", [None, "numba", "reference"])
@scalers
def test_one_of_x_and_out_in_float64_decides_what_is_computed_in(scaler, backend):
    x = data(70, 3)
    scaler = fresh(scaler).fit(x)
    scaler.backend = backend
    for method in (scaler.transform, scaler.inverse_transform):
        narrow = method(x).astype("float32")
        for dtype in ("float32", "float16"):
            small = x.astype(dtype) if dtype == "float32" else np.sign(x).astype(dtype)
            assert_same_bits({"y": method(small, np.empty(x.shape))}, {"y": method(small.astype("float64"))})
        assert_same_bits({"y": method(x, np.empty(x.shape, "float32"))}, {"y": narrow})


RANGES = [(0, 1), (0, 0.7), (-1, 1), (0.1, 0.9), (-7, 255), (-1, 0.1), (-5, 0.01), (-1e6, 1e-3), (0.3, 1e6)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bounds_are_exact(dtype):
    """Min to lo exactly; max to hi exactly where lo is 0, else within 1 ulp of the larger; none beyond."""
    x = data(3000, 200, dtype)
    at = np.arange(200)
    for lo, hi in RANGES:
        y = MinMaxScaler(feature_range=(lo, hi)).fit(x).transform(x)
        real = y.dtype.type
        assert np.all(y[x.argmin(0), at] == real(lo))
        assert np.all(y.min(0) == real(lo))
        off = 0 if lo == 0 else np.spacing(real(max(-lo, lo, hi)))
        assert np.all(abs(y[x.argmax(0), at] - real(hi)) <= off)
        assert np.all(y.max(0) == y[x.argmax(0), at])
    y = MaxAbsScaler().fit(x).transform(x)
    assert np.all(abs(y).max(0) == 1)


def test_max_is_within_an_ulp_of_the_larger_bound():
    """Of many ranges: float32's hi - lo is rounded once, not each of both before."""
    x = np.array([[0], [1]], "float32")
    for lo, hi in np.random.default_rng(0).uniform(-1, 1, (2000, 2)):
        if lo < hi:
            y = MinMaxScaler(feature_range=(lo, hi)).fit(x).transform(x)
            assert abs(y[1, 0] - np.float32(hi)) <= np.spacing(np.float32(max(abs(lo), abs(hi))))


def test_a_changed_range_is_used():
    scaler, x = MinMaxScaler().fit(np.array([[0.0], [1.0]])), np.array([[1.0]])
    bounds = [0, 1]
    scaler.feature_range = bounds
    assert scaler.transform(x) == 1
    bounds[1] = 100
    assert scaler.transform(x) == 1
    assert scaler.feature_range == (0, 1)
    scaler.feature_range = (0, 100)
    assert scaler.transform(x) == 100
    with pytest.raises(ValueError, match="expected lo below hi"):
        scaler.feature_range = (1, 0)
    assert scaler.transform(x) == 100


@pytest.mark.parametrize("scaler", [*SCALERS, Whitener(), Whitener(method="pca")], ids=repr)
def test_what_is_fitted_or_loaded_last_is_used(scaler):
    """And in the type that is asked for: whatever was transformed before."""
    x, y = data(50, 3), data(60, 3, seed=1)

    def assert_as_fresh(used, *batches):
        new = fresh(scaler)
        for batch in batches:
            new.partial_fit(batch)
        for dtype in ("float32", "float64", "float32"):
            assert_same_bits({"y": used.transform(x.astype(dtype))}, {"y": fresh(new).transform(x.astype(dtype))})
            assert_same_bits(
                {"x": used.inverse_transform(x.astype(dtype))}, {"x": fresh(new).inverse_transform(x.astype(dtype))}
            )

    used = fresh(scaler).fit(x)
    assert_as_fresh(used, x)
    assert_as_fresh(used.fit(y), y)
    assert_as_fresh(used.partial_fit(x), y, x)
    assert_as_fresh(used.merge(fresh(scaler).fit(y)), y, x, y)
    used.load_state_dict(fresh(scaler).fit(x).state_dict())
    assert_as_fresh(used, x)


def test_what_was_fitted():
    x = data(50, 4)
    scaler = StandardScaler().fit(x)
    assert scaler.n_features == 4
    assert np.array_equal(scaler.count, [50] * 4)
    assert np.array_equal(scaler.min, x.min(0))
    assert np.array_equal(scaler.max, x.max(0))
    assert np.allclose(scaler.mean, x.mean(0), rtol=1e-14)
    assert np.allclose(scaler.var, x.var(0), rtol=1e-13)


# ---- Accuracy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [1e4, 1e6, -1e6])
def test_variance_far_from_zero(dtype, offset):
    x = (np.random.default_rng(0).standard_normal((100_000, 3)) + offset).astype(dtype)
    exact = x.astype("longdouble")
    scaler = StandardScaler().fit(x)
    assert np.all(abs(scaler.var / exact.var(0) - 1) < 1e-9)
    assert np.all(abs(scaler.mean - exact.mean(0)) < 1e-9)
    y = scaler.transform(x).astype("float64")
    assert np.all(abs(y.mean(0)) < 1e-6)  # the mean's rounding to float32 would be 0.03
    assert np.all(abs(y.std(0) - 1) < 1e-6)


@scalers
def test_large_numbers_stay_finite(scaler):
    x = np.array([[1e30, -1e30], [-1e30, 0], [3e29, 1e30]], "float32")
    y = fresh(scaler).fit(x).transform(x)
    assert np.all(np.isfinite(y))
    assert abs(y).max() > 0.5


def test_what_the_type_cannot_hold_is_refused():
    x = np.array([[3e38], [-3e38]], "float32")
    scaler = MinMaxScaler().fit(x)
    before = x.copy()
    with pytest.raises(ValueError, match="feature 0 would have a divisor of inf in float32"):
        scaler.transform_(x)
    assert np.array_equal(x, before)
    assert np.array_equal(scaler.transform(x.astype("float64")), [[1], [0]])
    with pytest.raises(ValueError, match="feature 0 would have a divisor of 0 in float32"):
        MinMaxScaler().fit(np.array([[1e9], [1e9 + 1]])).transform_(x)


@pytest.mark.parametrize("scaler", [StandardScaler(), StandardScaler(with_std=False), MeanNormalizer()], ids=repr)
def test_a_mean_that_cannot_be_subtracted(scaler):
    x = np.full((10, 1), -3.3e38, "float32")
    x[0], x[1] = 3.3e38, 3e38
    scaler = fresh(scaler).fit(x)
    before = x.copy()
    with pytest.raises(ValueError, match=r"feature 0 would have a .* of inf in float32"):
        scaler.transform_(x)
    assert np.array_equal(x, before)
    assert np.isfinite(scaler.transform(x.astype("float64"))).all()


def test_squares_that_vanish():
    """Below 2.2e-308 they count as zeros: of a deviation of 1e-154, some part of them."""
    x = data(1000, 1)
    for scale in (1e-154, 1e-150, 1e-147):
        scaler = StandardScaler().fit(x / x.std() * scale)
        with pytest.raises(ValueError, match="feature 0 would have a divisor of 0 in float64"):
            scaler.transform(x)
    for scale in (1e-145, 1e-140):
        y = x / x.std() * scale
        assert np.allclose(StandardScaler().fit(y).transform(y).std(), 1, rtol=1e-14)


@pytest.mark.parametrize("with_std", [True, False])
def test_what_was_fitted_in_float64_may_lie_beyond_float32(with_std):
    """An outlier that no float32 is does not keep those that are from being scaled: no x is as far away as it."""
    x = np.zeros((201, 2))
    x[:2, 0], x[:2, 1] = (1e39, -1e39), (3.5e38, -3.5e38)
    scaler = StandardScaler(with_std=with_std).fit(x)
    y = np.array([[3e38, -3e38], [1e30, 0]], "float32")
    want = y.astype("float64") / (x.std(0) if with_std else 1)
    assert np.all(abs(scaler.transform(y) - want) <= 1e-6 * abs(want).max(0))
    assert np.array_equal(scaler.max, [1e39, 3.5e38])


# ---- Zeros


@pytest.mark.parametrize("backend", [None, "numba", "reference"])
@pytest.mark.parametrize("order", ["C", "F"])
@scalers
def test_the_sign_of_a_zero_is_not_fitted(scaler, order, backend):
    """Which zero comes first, or alone, depends on threads and layouts: what is known of the data does not."""
    zeros = np.array([[0.0, -0.0, -0.0, 0.0], [-0.0, 0.0, -0.0, 0.0]])
    for around in ([], [[-1.0] * 4] * 2, [[1.0] * 4] * 2):
        x = np.array([*zeros, *around], order=order)
        scalers = [fresh(scaler) for _ in range(3)]
        for each in scalers:
            each.backend = backend
        scalers[0].fit(x)
        scalers[1].fit(x[:1]).partial_fit(x[1:])
        scalers[2].fit(x[::-1])
        for each in scalers:
            state = {name: array for name, array in each.state_dict().items() if np.shape(array) == (4,)}
            assert set(state) == {"count", "mean", "m2", "min", "max"}
            for array in state.values():
                assert not np.any(np.signbit(array) & (array == 0))
                assert np.all(array == array[0])
        assert_same_bits({"y": scalers[2].transform(x)}, {"y": scalers[0].transform(x)})


# ---- Constant features


@scalers
def test_constant_features(scaler):
    for dtype in ("float32", "float64"):
        for value in (0.1, -1e6, 1e30, 0.0):
            x = np.full((5000, 3), value, dtype)
            y = fresh(scaler).fit(x).transform(x)
            if isinstance(scaler, MaxAbsScaler):
                want = np.sign(value)
            elif isinstance(scaler, MinMaxScaler):
                want = scaler.feature_range[0]
            else:
                want = 0 if getattr(scaler, "with_mean", True) else x
            assert np.array_equal(y, np.broadcast_to(np.asarray(want, dtype), x.shape))
            merged = fresh(scaler)
            for batch in np.split(x, [1, 3, 700]):
                merged.partial_fit(batch)
            assert np.array_equal(merged.transform(x), y)
            assert np.all(merged.var == 0)


def test_constant_features_in_another_type():
    x = np.full((10, 1), 0.1)
    assert np.all(StandardScaler().fit(x).transform(x.astype("float32")) == 0)


# ---- NaN and infinities


@scalers
def test_nan_is_refused(scaler):
    x = data(500, 7, "float32")
    fitted = fresh(scaler).fit(x)
    before = pickle.dumps(fitted)
    for bad, what in ((np.nan, "a NaN"), (np.inf, "an infinity"), (-np.inf, "an infinity")):
        for layout in (np.ascontiguousarray, np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2]):
            y = layout(x.copy())
            y[499, 5] = bad
            kept = y.copy()
            message = f"x has {what} in feature 5, sample 499"
            for call in (
                fitted.fit,
                fitted.partial_fit,
                fitted.transform_,
                fitted.inverse_transform_,
                fitted.transform,
            ):
                with pytest.raises(ValueError, match=message):
                    call(y)
            out = np.ones_like(y)
            with pytest.raises(ValueError, match=message):
                fitted.transform(y, out)
            assert np.all(out == 1)
            assert np.array_equal(y, kept, equal_nan=True)
    assert pickle.dumps(fitted) == before


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_not_finite_is_found_wherever_it_is(order, dtype):
    """Of data of any size, at its end above all: it is looked through in rows, of which the last is short."""
    scalers = {features: StandardScaler().fit(data(9, features)) for features in (1, 2, 3)}
    for features, scaler in scalers.items():
        for samples in range(1, 100):
            x = np.ones((samples, features), dtype, order)
            for place in {0, x.size // 2, x.size - 1}:
                x.flat[place] = np.nan
                where = f"feature {place % features}, sample {place // features};"
                with pytest.raises(ValueError, match=f"x has a NaN in {where}"):
                    scaler.transform_(x)
                x.flat[place] = 1


@pytest.mark.parametrize("backend", [None, "numba", "reference"])
def test_what_is_not_finite_is_found_in_long_data(backend):
    """Where it is looked for in parts: the sample's number is that in x."""
    x = data(70_000, 3)
    scaler = StandardScaler(backend=backend).fit(x)
    x[50_000, 1] = np.nan
    x[60_000, 0] = np.inf
    for call in (scaler.fit, scaler.transform, scaler.transform_):
        with pytest.raises(ValueError, match="x has a NaN in feature 1, sample 50000"):
            call(x)


@formulas
def test_nan_is_ignored(scaler, formula):
    x = data(400, 6)
    x[np.random.default_rng(1).random(x.shape) < 0.3] = np.nan
    x[:, 2][~np.isnan(x[:, 2])] = 4.0
    x[:300, 5] = np.nan
    ignoring = type(scaler)(**{name: getattr(scaler, name) for name in scaler._options if name != "nan"}, nan="ignore")
    y = ignoring.fit(x).transform(x)
    assert np.array_equal(ignoring.count, (~np.isnan(x)).sum(0))
    for feature in (0, 1, 3, 4, 5):
        known = x[:, [feature]][~np.isnan(x[:, feature])]
        assert np.allclose(y[~np.isnan(x[:, feature]), feature], formula(known)[:, 0], rtol=1e-11, atol=1e-13)
    assert np.array_equal(np.isnan(y), np.isnan(x))


def test_infinities_are_refused_even_so():
    x = data(5000, 3)
    x[4321, 1] = np.inf
    scaler = StandardScaler(nan="ignore")
    with pytest.raises(ValueError, match="x has an infinity in feature 1"):
        scaler.fit(x)
    scaler.fit(data(5000, 3))
    y = scaler.transform(x)
    assert y[4321, 1] == np.inf
    assert np.isfinite(np.delete(y, 4321, axis=0)).all()


def test_a_feature_without_values():
    x = np.array([[1.0, np.nan], [3.0, np.nan]])
    scaler = StandardScaler(nan="ignore").fit(x)
    assert np.isnan([scaler.mean[1], scaler.var[1], scaler.min[1], scaler.max[1]]).all()
    assert np.array_equal(scaler.transform(np.ones((1, 2))), [[-1, np.nan]], equal_nan=True)
    scaler.partial_fit(np.array([[2.0, 5.0], [2.0, 7.0]]))
    assert np.array_equal(scaler.mean, [2, 6])
    assert np.array_equal(scaler.count, [4, 2])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_variance_after_many_nans(dtype, order):
    """Deviations are measured from a feature's first value, however late it comes."""
    x = np.array(np.random.default_rng(0).standard_normal((60_000, 2)) + 1e6, dtype, order=order)
    x[:2048, 0] = x[:50_000, 1] = np.nan
    exact = np.nanvar(x.astype("longdouble"), axis=0)
    for backend in ("cython", "numba"):
        scaler = StandardScaler(nan="ignore", backend=backend).fit(x)
        assert np.all(abs(scaler.var / exact - 1) < 1e-9)


def test_features_without_values_are_merged():
    """Where NaN is refused, none is written."""
    x = np.array([[1.0, np.nan], [3.0, np.nan]])
    scaler = MinMaxScaler().merge(MinMaxScaler(nan="ignore").fit(x))
    y = np.ones((2, 2))
    with pytest.raises(ValueError, match="feature 1 was fitted without any value; expected nan='ignore'"):
        scaler.transform_(y)
    assert np.all(y == 1)
    scaler.partial_fit(np.array([[1.0, 5.0], [3.0, 6.0]])).transform_(y)
    assert np.isfinite(y).all()


# ---- Batches and merging


@given(
    arrays("float64", st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.floats(-1e6, 1e6)),
    st.lists(st.integers(1, 29), max_size=4),
)
def test_batches_are_as_good_as_one(x, cuts):
    whole, parts = StandardScaler().fit(x), StandardScaler()
    for batch in np.split(x, sorted({cut for cut in cuts if cut < len(x)})):
        parts.partial_fit(batch)
    assert np.array_equal(parts.min, whole.min + 0)
    assert np.array_equal(parts.max, whole.max + 0)
    assert np.array_equal(parts.count, whole.count)
    scale = abs(x).max(0)
    tiny = 1e-300  # subnormal sums count as zero in the engine, and not where batches are merged
    assert np.all(abs(parts.mean - whole.mean) <= 1e-14 * scale + tiny)
    assert np.all(abs(parts.var - whole.var) <= 1e-13 * scale * scale + tiny)


def fit_shard(task):
    scaler, shard = task
    return scaler.fit(shard)


def test_shards_of_other_processes_merge():
    x = data(9001, 5, "float32")
    shards = np.split(x, [1000, 1003, 7000])
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for scaler in (StandardScaler(), MinMaxScaler(nan="ignore"), Whitener(method="pca")):
            fitted = list(pool.map(fit_shard, [(fresh(scaler), shard) for shard in shards]))
            merged, here = fresh(scaler), fresh(scaler)
            for other, shard in zip(fitted, shards, strict=True):
                merged.merge(other)
                here.partial_fit(shard)
            assert same_state(merged, here)
            whole = fresh(scaler).fit(x)
            assert np.allclose(merged.transform(x), whole.transform(x), rtol=1e-5, atol=1e-5)


def same_state(a, b):
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def test_merged_batches_are_as_good_as_one():
    """Several batches of another scaler: not with the same bits as if they came one by one."""
    x = data(9001, 5) + 1e3
    first, *others = np.split(x, [1000, 1003, 7000])
    other = StandardScaler()
    for batch in others:
        other.partial_fit(batch)
    made = [StandardScaler().fit(first).merge(each) for each in (other, fresh(other))]
    assert same_state(*made)
    whole = StandardScaler().fit(x)
    assert np.allclose(made[0].mean, whole.mean, rtol=1e-14)
    assert np.allclose(made[0].var, whole.var, rtol=1e-12)


def test_merging_leaves_the_other_alone():
    a, b = (StandardScaler().fit(data(20, 3, seed=seed)) for seed in (0, 1))
    state = b.state_dict()
    a.merge(b)
    StandardScaler().merge(b).partial_fit(data(5, 3))
    assert all(np.array_equal(b.state_dict()[name], state[name]) for name in state)


# ---- Files


#: Scales a file of many MiB with 8 MiB of memory to spare, and prints by how many bytes its own memory has grown.
PROGRAM = """
import re, resource, sys
from pathlib import Path
import numpy as np
from fastopt.scaling import StandardScaler, Whitener

def memory(kind):
    return 1024 * int(re.search(kind + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

path, samples, features = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
warm = np.random.default_rng(0).standard_normal((1 << 16, features), "f4")
for scaler in (StandardScaler(), Whitener()):
    scaler.fit(warm).transform_(warm)  # threads are started
x = np.memmap(path, "f4", "r+", shape=(samples, features))
chunk = 100_000
for at in range(0, samples, chunk):
    x[at : at + chunk] = 3 + np.arange(at, min(at + chunk, samples))[:, None] % np.arange(5, 5 + features)
before = memory("RssAnon")
resource.setrlimit(resource.RLIMIT_DATA, (memory("VmData") + 2**23, resource.RLIM_INFINITY))
scaler = StandardScaler()
for at in range(0, samples, chunk):
    scaler.partial_fit(x[at : at + chunk])
whole = StandardScaler().fit(x)
scaler.transform_(x)
whitener = Whitener().fit(x)
whitener.transform_(x)
grown = memory("RssAnon") - before
resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert np.allclose(scaler.var, whole.var, rtol=1e-9)
assert np.allclose(x.mean(axis=0, dtype="f8"), 0, atol=1e-5)
assert np.allclose(x.std(axis=0, dtype="f8"), 1, atol=1e-3)
print(grown)
"""


def test_a_file_is_scaled_in_constant_memory(tmp_path):
    path = tmp_path / "x"
    samples, features = 4_000_000, 8
    with path.open("wb") as file:
        file.truncate(4 * samples * features)
    assert int(run_python(PROGRAM, str(path), str(samples), str(features), OPENBLAS_NUM_THREADS="1")) < 4 << 20
    path.unlink()


def test_a_read_only_map_is_fitted_and_not_written(tmp_path):
    np.save(tmp_path / "x.npy", data(10, 2))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    scaler = StandardScaler().fit(x)
    with pytest.raises(TypeError, match="x is read-only"):
        scaler.transform_(x)
    assert np.allclose(scaler.transform(x), StandardScaler().fit(np.array(x)).transform(np.array(x)))


# ---- As the package is


def test_imported_on_demand():
    assert run_python("import fastopt, sys; print('fastopt.scaling' in sys.modules)") == "False\n"


@pytest.mark.parametrize("offset", [1e6, 1e8])
def test_samples_that_tell_the_centre_may_all_be_nan(offset):
    """Of 1,600 samples, every 16th is looked at first."""
    x = offset + np.random.default_rng(0).standard_normal((1600, 2))
    x[8::16, 0] = x[::16, 1] = np.nan
    var = StandardScaler(nan="ignore").fit(x).var
    np.testing.assert_allclose(var, np.nanvar(x, axis=0), rtol=1e-7)
