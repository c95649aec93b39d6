"""Promises 10 and 13: norms against their formulas in higher precision, and robustness of statistics."""

from __future__ import annotations

from math import sqrt

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt.reference import norm as norm_reference
from tests.norm_cases import ALONE, BFLOAT16, CASES, DTYPES, EPS, EXTREMES, NormCase
from tests.support import Arrays, assert_same_bits, copies

# Half the distance between neighbours at 1: what one rounding changes at most.
ROUNDING = {np.dtype(dtype): float(ml_dtypes.finfo(dtype).eps) / 2 for dtype in DTYPES}

# A result is a few terms, each a product of a few factors: no more roundings than this of the largest term. float64
# sums of float64 values count as well; of narrower values they are as good as exact.
ROUNDINGS = {np.dtype("float32"): 8, np.dtype("float64"): 64}

SMALL = [(2, 1), (3, 7), (17, 6), (2, 3, 17), (1, 4, 7, 7), (3, 8, 2, 5), (2, 4, 3, 1, 5)]
AWKWARD = [
    (1, 1), (1, 7), (1023, 3), (7, 1023), (64, 4096 + 2), (1, 1, 70_000), (1, 1, 1), (3, 17, 1), (1, 3, 1023),
    (2, 1, 14, 14), (3, 7, 7, 7), (2, 5, 14, 14), (2, 16, 56, 56), (2, 3, 150, 151), (2, 4, 3, 5, 7),
]  # fmt: skip

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_norm = pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
every_training = pytest.mark.parametrize(
    "case", [case for case in ALONE if not case.inference], ids=lambda case: case.name
)


def terms(case: NormCase, arrays: Arrays, wanted: Arrays) -> dict[str, float]:
    """Return the size of the largest term of each result."""

    def largest(*names: str) -> float:
        return float(max((np.abs(given[name]).max(initial=0) for name in names if name in given), default=0))

    given = {name: array.astype("f8") for name, array in (arrays | wanted).items()}
    if case.inference:
        given["mean"], given["rstd"] = given["running_mean"], 1 / np.sqrt(given["running_var"] + EPS)
        x_hat = (largest("x") + largest("mean")) * largest("rstd")
    else:
        x_hat = float(np.abs(case.forward({"x": given["x"]}, norm_reference, activation=None)["y"]).max(initial=0))
    g, values = largest("dy") * largest("weight"), given["x"].size / max(1, given["weight"].size)
    return {
        "y": x_hat * largest("weight") + largest("bias", "residual") * 2,
        "dx": largest("rstd") * g * (2 + x_hat),
        # The roundings of terms, and of a few of them that join before they are added up in float64, add up at random.
        "dweight": largest("dweight") + sqrt(values) * largest("dy") * x_hat,
        "dbias": largest("dbias") + sqrt(values) * largest("dy"),
    }


def assert_accurate(case: NormCase, shape: tuple[int, ...], dtype: np.dtype) -> None:
    arrays = case.make_arrays(shape, dtype)
    before = copies(arrays)
    made = case.run(arrays)
    wanted = case.expected(before, made)
    compute = np.dtype("float64" if dtype == np.float64 else "float32")
    largest = terms(case, before, wanted)
    for name, values in wanted.items():
        got = made[name]
        assert got.shape == values.shape, name
        scale = largest.get(name, np.abs(values).max(initial=0))
        tolerance = ROUNDINGS[compute] * ROUNDING[compute] * scale + ROUNDING[got.dtype] * np.abs(values)
        tolerance += float(ml_dtypes.finfo(got.dtype).smallest_subnormal)
        deviation = np.abs(got.astype("f8").astype("g") - values)
        worst = (deviation / tolerance).max(initial=0)
        assert worst <= 1, f"{name} of {shape} is off by {worst:.3g} times what is allowed"
    for name in before.keys() - set(case.updated):
        assert_same_bits(arrays, {name: before[name]}, "an input")


# ---- Beside the formulas


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_case
def test_every_norm_is_its_formula(case, dtype):
    for shape in SMALL:
        assert_accurate(case, shape, dtype)


@pytest.mark.parametrize("shape", AWKWARD, ids=str)
@pytest.mark.parametrize("case", EXTREMES, ids=lambda case: case.name)
def test_awkward_sizes(case, shape):
    assert_accurate(case, shape, np.dtype("float32"))


@pytest.mark.parametrize("dtype", [np.dtype("float64"), BFLOAT16], ids=str)
@every_norm
def test_sums_of_several_parts(case, dtype):
    for shape in ((3, 4, 70, 71), (5, 5003)):
        assert_accurate(case, shape, dtype)


@every_norm
def test_missing_parameters_are_ones_and_zeros(case):
    arrays = case.make_arrays((4, 6, 5, 3))
    arrays["weight"][...], arrays["bias"][...] = 1, 0
    without = {name: array.copy() for name, array in arrays.items() if name not in ("weight", "bias")}
    assert_same_bits(case.run(without), case.run(arrays))


@every_case
def test_mixed_dtypes(case):
    """Each array its own dtype: float64 anywhere makes the whole call float64."""
    shape = (3, 6, 5, 7)
    for wide in (False, True):
        arrays = case.make_arrays(shape)
        cycle = [np.dtype("float16"), BFLOAT16, np.dtype("float64" if wide else "float32")]
        arrays = {name: array.astype(cycle[i % 3]) for i, (name, array) in enumerate(arrays.items())}
        same_values = {name: array.astype("f8" if wide else "f4") for name, array in arrays.items()}
        running = {name: array.copy() for name, array in same_values.items() if name in case.updated}
        mixed, uniform = case.forward(arrays), case.forward(same_values | running)
        assert mixed["y"].dtype == arrays["x"].dtype
        assert_same_bits(mixed, {name: a.astype(mixed[name].dtype) for name, a in uniform.items()}, f"{wide}")
        for name in set(mixed) & {"mean", "rstd"}:
            assert mixed[name].dtype == ("f8" if wide else "f4")


# ---- Statistics


def sets_of(case: NormCase, x: np.ndarray) -> np.ndarray:
    """Return the values of each set as a row, in float64."""
    x = x.astype("f8")
    if case.norm == "layer":
        return x.reshape(*x.shape[: case.axis], -1)
    channels_first = np.moveaxis(x, case.axis, 1)
    if case.norm == "batch":
        return channels_first.swapaxes(0, 1).reshape(x.shape[case.axis], -1)
    sets = x.shape[case.axis] if case.norm == "instance" else case.options(x)["groups"]
    return channels_first.reshape(x.shape[0], sets, -1)


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("offset", [0.0, -1e6, 1e9])
@pytest.mark.parametrize("shape", [(8, 6, 5, 7), (9, 8, 40, 41)])
@every_training
def test_float64_results_do_not_feel_a_mean_far_from_zero(case, shape, offset, backend):
    """The mean's own rounding would cost 5e-11 at 1e6. What is normalised is exact: multiples of 2^-20."""
    arrays = case.make_arrays(shape, np.float64)
    arrays["x"] = np.round(arrays["x"] * 2**20) / 2**20
    wanted = case.forward({name: array.astype(np.longdouble) for name, array in arrays.items()}, norm_reference)["y"]
    y = case.forward({**arrays, "x": arrays["x"] + offset}, backend=backend)["y"]
    np.testing.assert_allclose(y, wanted.astype(np.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize("offset", [1e4, 1e6])
@every_training
def test_the_variance_of_values_far_from_zero(case, offset):
    x = case.make_arrays((8, 6, 40, 41))["x"] / 2 + np.float32(offset)
    sets = sets_of(case, x)
    _, mean, rstd = case.forward({"x": x}, eps=0.0).values()
    np.testing.assert_allclose(rstd.astype("f8") ** -2, sets.var(-1), rtol=1e-6)
    np.testing.assert_allclose(mean, sets.mean(-1), rtol=1e-7)


@pytest.mark.parametrize("offset", [1e4, 1e6])
@every_training
def test_results_of_values_far_from_zero(case, offset):
    """The values are exact; results may be off by no more roundings than usual."""
    arrays = case.make_arrays((8, 6, 20, 21))
    arrays["x"] += np.float32(offset)
    y, wanted = case.forward(copies(arrays))["y"], case.expected(arrays, case.run(copies(arrays)))["y"]
    np.testing.assert_allclose(y, wanted.astype("f8"), rtol=0, atol=1e-5)


@pytest.mark.parametrize("axis", [1, -1])
def test_the_running_variance_of_values_far_from_zero(axis):
    for offset in (1e4, 1e6):
        x = (np.random.default_rng(0).standard_normal((16, 5, 30, 5)) + offset).astype("f4")
        for layout in (x, np.moveaxis(np.moveaxis(x, axis, 0).copy(), 0, axis)):
            running = np.zeros((2, 5), "f4")
            fastopt.batch_norm_forward(layout, None, None, *running, momentum=1, axis=axis, unbiased=False)
            true = np.moveaxis(x, axis, 0).reshape(5, -1).astype("f8").var(1)
            np.testing.assert_allclose(running[1], true, rtol=1e-6)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_training
def test_a_constant_set_gives_exactly_bias(case, dtype, eps):
    for value in (0, 0.1, -3e-20, 65504, 1e30, 1e6 + 0.3):
        with np.errstate(over="ignore"):
            if not np.isfinite(np.array(value).astype(dtype)):
                continue
        for shape in ((7, 6, 9, 5), (5, 70)):
            arrays = case.make_arrays(shape, dtype)
            arrays["x"][...] = value
            y = case.forward(arrays, eps=eps)["y"]
            bias = arrays["bias"].astype(dtype)
            if case.norm != "layer":
                bias = bias.reshape([-1 if axis == case.axis % y.ndim else 1 for axis in range(y.ndim)])
            np.testing.assert_array_equal(y.astype("f8"), np.broadcast_to(bias, y.shape).astype("f8"))


@every_training
def test_constant_sets_pass_on_finite_gradients(case):
    arrays = case.make_arrays((4, 6, 5))
    arrays["x"][...] = 0.1
    made = case.run(arrays)
    assert all(np.isfinite(made[name]).all() for name in made)


@every_training
def test_values_of_1e30_stay_finite(case):
    arrays = case.make_arrays((4, 6, 9, 8))
    arrays["x"] = (arrays["x"] * 1e30).astype("f4")
    before = copies(arrays)
    made = case.run(arrays)
    for name, values in made.items():
        assert np.isfinite(values).all(), name
    wanted = case.expected(before, made)
    np.testing.assert_allclose(made["y"], wanted["y"].astype("f8"), rtol=0, atol=1e-5)
    np.testing.assert_allclose(made["rstd"], wanted["rstd"].astype("f8"), rtol=2e-7)


@pytest.mark.parametrize("size", [1e30, 1e15, 1e-15])
@every_training
def test_gradients_of_huge_and_tiny_values(case, size):
    """Products of rstd with itself may not leave the range of float32 before x makes up for it."""
    arrays = case.make_arrays((4, 6, 9, 8))
    arrays["x"] = (arrays["x"] * size).astype("f4")
    made = case.forward(copies(arrays), eps=0.0)
    wanted, made = case.expected(arrays, made), made | case.backward(arrays, made)
    scale = float(np.abs(wanted["dx"]).max())
    np.testing.assert_allclose(made["dx"], wanted["dx"].astype("f8"), rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_a_variance_beyond_float32_is_kept_as_the_largest_number(backend):
    x = np.float32(1e30) * np.random.default_rng(0).standard_normal((8, 3, 5)).astype("f4")
    running_mean, running_var = np.zeros(3, "f4"), np.ones(3, "f4")
    for _ in range(3):
        fastopt.batch_norm_forward(x, None, None, running_mean, running_var, backend=backend)
    assert np.isfinite(running_mean).all()
    np.testing.assert_array_equal(running_var, np.finfo("f4").max)
    assert np.isfinite(fastopt.batch_norm_inference(x, None, None, running_mean, running_var)).all()


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)], ids=str)
def test_one_value_per_channel(shape):
    """It gives bias; there is no unbiased variance, and running_var stays as it was."""
    x, weight, bias = np.array([5, -1, 2], "f4").reshape(shape), np.array([2, 3, 4], "f4"), np.array([7, 8, 9], "f4")
    for unbiased in (True, False):
        running_mean, running_var = np.array([1, 1, 1], "f4"), np.array([4, 4, 4], "f4")
        y, mean, rstd = fastopt.batch_norm_forward(
            x, weight, bias, running_mean, running_var, momentum=0.5, unbiased=unbiased
        )
        np.testing.assert_array_equal(y, bias.reshape(shape))
        np.testing.assert_array_equal(mean, x.ravel())
        np.testing.assert_array_equal(rstd, np.float32(1 / np.sqrt(EPS)))
        np.testing.assert_array_equal(running_mean, [3, 0, 1.5])
        np.testing.assert_array_equal(running_var, 4 if unbiased else 2)


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (2, 3, 0), (0, 3, 0, 2)], ids=str)
@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_an_empty_batch_leaves_running_statistics_as_they_are(shape, backend):
    x = np.zeros(shape, "f4")
    for unbiased in (True, False):
        running = np.array([[1, 2, 3], [4, 5, 6]], "f4")
        y, mean, rstd = fastopt.batch_norm_forward(x, None, None, *running, unbiased=unbiased, backend=backend)
        np.testing.assert_array_equal(running, [[1, 2, 3], [4, 5, 6]])
        assert y.shape == shape
        np.testing.assert_array_equal(mean, [0, 0, 0])
        np.testing.assert_array_equal(rstd, np.float32(1 / np.sqrt(EPS)))
        dx, dweight, dbias = fastopt.batch_norm_backward(x, x, None, mean, rstd, backend=backend)
        assert dx.shape == shape
        np.testing.assert_array_equal([dweight, dbias], 0)


def test_inference_never_writes_the_statistics():
    x = np.random.default_rng(0).standard_normal((4, 3, 5)).astype("f4")
    statistics = np.array([[1, 2, 3], [4, 5, 6]], "f4")
    statistics.flags.writeable = False
    for backend in ("cython", "numba", "reference"):
        y = fastopt.batch_norm_inference(x, None, None, *statistics, activation="relu", backend=backend)
        fastopt.batch_norm_backward_inference(x, x, None, *statistics, y=y, activation="relu", backend=backend)
    np.testing.assert_array_equal(statistics, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("momentum", [0, 0.1, 0.75, 1])
def test_running_statistics(momentum, unbiased):
    x = np.random.default_rng(0).standard_normal((5, 3, 2, 4))
    start = np.array([[1, 2, 3], [4, 5, 6]], "f8")
    running, values = start.copy(), np.moveaxis(x, 1, 0).reshape(3, -1)
    fastopt.batch_norm_forward(x, None, None, *running, momentum=momentum, unbiased=unbiased)
    batch = np.stack([values.mean(1), values.var(1, ddof=int(unbiased))])
    np.testing.assert_allclose(running, (1 - momentum) * start + momentum * batch, rtol=1e-14)
    if momentum == 0:
        np.testing.assert_array_equal(running, start)


def test_running_statistics_may_have_any_dtype():
    x = np.random.default_rng(0).standard_normal((5, 3, 4)).astype("f4")
    wanted = np.array([[1, 2, 3], [4, 5, 6]], "f4")
    fastopt.batch_norm_forward(x, None, None, *wanted, momentum=0.5)
    for dtype in ("f2", BFLOAT16):
        running = np.array([[1, 2, 3], [4, 5, 6]], "f4").astype(dtype)
        fastopt.batch_norm_forward(x, None, None, *running, momentum=0.5)
        np.testing.assert_array_equal(running.astype("f4"), wanted.astype(dtype).astype("f4"))


@pytest.mark.parametrize("outlier", [1e8, -1e12, 1e100])
@pytest.mark.parametrize("shape", [(4000, 2), (2, 2, 90, 91)], ids=str)
def test_a_first_value_far_from_the_others_spoils_no_float64_variance(outlier, shape):
    """Sums of deviations from the first value would be off by the roundings of its square."""
    x = np.random.default_rng(0).standard_normal(shape)
    x[(0, slice(None), *(0,) * (x.ndim - 2))] = outlier
    values = np.moveaxis(x, 1, 0).reshape(2, -1).astype("g")
    _, mean, rstd = fastopt.batch_norm_forward(x, eps=0.0)
    true = values.mean(1)
    np.testing.assert_allclose(mean, true.astype("f8"), rtol=1e-14)
    np.testing.assert_allclose(rstd, (1 / np.sqrt(((values - true[:, None]) ** 2).mean(1))).astype("f8"), rtol=1e-13)


@pytest.mark.parametrize("groups", [1, 4])
def test_a_sample_whose_first_value_is_far_from_the_others_has_its_own_second_round(groups):
    """Such samples stand beside others in every combination."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 120)).astype("f4")
    far = rng.permutation(64 * groups) % 2 == 0
    x.reshape(-1, 120 // groups)[far, 0] = 1e6
    _, mean, rstd = fastopt.group_norm_forward(x, groups=groups, eps=0.0)
    values = x.reshape(64, groups, -1).astype("f8")
    np.testing.assert_allclose(mean, values.mean(2), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(rstd, 1 / values.std(2), rtol=2e-7)


# ---- NaN and infinity


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@every_case
def test_nonfinite_values_reach_only_their_own_set(case, value):
    for shape in ((4, 6, 9, 5), (5, 6, 70), (9, 40)):
        clean = case.make_arrays(shape)
        x = clean["x"].copy()
        touched = copies(clean) | {"x": x}
        place = (2, *(1,) * (x.ndim - 1))
        x[place] = value
        before = copies(touched)
        got, usual = case.run(touched), case.run(clean)
        wanted = case.expected(before, got)
        for name, values in wanted.items():
            np.testing.assert_array_equal(np.isnan(got[name])[np.isnan(values)], True)
            if name in ("y", "dx"):
                reached = ~np.isfinite(values)
                reached[place] = True
                assert_same_bits({name: got[name][~reached]}, {name: usual[name][~reached]}, str(shape))


def test_a_negative_variance_makes_nan_of_its_channel():
    x, running_var = np.ones((2, 3, 4), "f4"), np.array([1, -1, 0], "f4")
    for backend in ("cython", "numba", "reference"):
        y = fastopt.batch_norm_inference(x, None, None, np.zeros(3, "f4"), running_var, backend=backend)
        np.testing.assert_array_equal(np.isnan(y).all((0, 2)), [False, True, False])
        dx, *_ = fastopt.batch_norm_backward_inference(x, x, None, np.zeros(3, "f4"), running_var, backend=backend)
        np.testing.assert_array_equal(np.isnan(dx).all((0, 2)), [False, True, False])


def test_relu_of_nan_is_nan_and_passes_its_gradient_on():
    x, residual = np.array([[1, 2], [3, 4]], "f4"), np.array([[np.nan, -9], [0, 9]], "f4")
    for backend in ("cython", "numba", "reference"):
        options = {"activation": "relu", "backend": backend}
        y, mean, rstd = fastopt.batch_norm_forward(x, residual=residual, **options)
        assert np.isnan(y[0, 0])
        assert y[0, 1] == 0
        *_, dresidual = fastopt.batch_norm_backward(x, x, None, mean, rstd, y=y, residual=True, **options)
        np.testing.assert_array_equal(dresidual, [[1, 0], [3, 4]])


@pytest.mark.parametrize("size", [1e-15, 1e-17, 1e-18, 3e-19])
def test_small_values_without_eps(size):
    """Their float32 squares are subnormal, or nothing."""
    x = (size * np.random.default_rng(0).standard_normal((8, 3, 100))).astype("f4")
    _, _, rstd = fastopt.batch_norm_forward(x, eps=0)
    np.testing.assert_allclose(rstd, 1 / x.astype("f8").std((0, 2)), rtol=2e-7)


@pytest.mark.parametrize(("size", "weight"), [(1e30, 1e-9), (1e-18, 1e21), (1, 1e30)])
def test_factors_whose_product_is_beyond_float32(size, weight):
    x = (size * np.random.default_rng(0).standard_normal((8, 3, 100))).astype("f4")
    y, _, _ = fastopt.batch_norm_forward(x, np.full(3, weight, "f4"), eps=0)
    wide = x.astype("f8")
    wanted = weight * (wide - wide.mean((0, 2), keepdims=True)) / wide.std((0, 2), keepdims=True)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-5 * weight)


def test_a_constant_channel_with_a_huge_weight_is_bias():
    y, _, _ = fastopt.batch_norm_forward(
        np.full((4, 2, 5), 3, "f4"), np.full(2, 1e20, "f4"), np.full(2, 5, "f4"), eps=0
    )
    np.testing.assert_array_equal(y, 5)


def test_a_gradient_in_inference_whose_factors_have_no_product_in_float32():
    dy = np.full((4, 2, 5), 1e-15, "f4")
    running_mean, running_var, weight = np.zeros(2, "f4"), np.full(2, 1e-36, "f4"), np.full(2, 1e21, "f4")
    dx, _, _ = fastopt.batch_norm_backward_inference(dy, dy, weight, running_mean, running_var, eps=0)
    np.testing.assert_allclose(dx, 1e24, rtol=1e-6)


@pytest.mark.parametrize("backend", ["cython", "numba"])
def test_subnormal_weights_and_statistics_count_as_zero(backend):
    """As elements do, and as all of it does on a device."""
    x, small = np.arange(8, dtype="f4").reshape(4, 2), np.full(2, 1e-40, "f4")
    running_mean, running_var = small.copy(), small.copy()
    statistics = {"running_mean": running_mean, "running_var": running_var, "backend": backend}
    fastopt.batch_norm_forward(np.zeros_like(x), momentum=0, **statistics)
    np.testing.assert_array_equal([running_mean, running_var], [small, small])
    y, _, _ = fastopt.batch_norm_forward(np.zeros_like(x), small, small, momentum=0.5, **statistics)
    np.testing.assert_array_equal([running_mean, running_var], 0)
    np.testing.assert_array_equal(y, 0)
    double = x.astype("f8")
    y, mean, rstd = fastopt.batch_norm_forward(double, small, backend=backend)
    np.testing.assert_array_equal(y, 0)
    dx, *_ = fastopt.batch_norm_backward(double, double, small, mean, rstd, backend=backend)
    np.testing.assert_array_equal(dx, 0)
