"""Promise 10, one rounding: every update against the float64 formula, on every backend, at awkward sizes."""

from __future__ import annotations

from inspect import signature

import ml_dtypes
import numpy as np
import pytest

import fastopt
from tests.cases import BY_NAME, CASES
from tests.reference import expected
from tests.support import assert_same_bits, copies

SIZES = [0, 1, 2, 31, 1023, 1024, 1025, 100_003]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
ULP = float(np.finfo("f4").eps)


def assert_accurate(case, before, step, got, **options):
    """Param is within an ulp of the float64 formula, state within two, plus four times what inputs an ulp away change.

    The last is for elements where the formula itself amplifies: param - change near 0, a variance E[g^2] - E[g]^2 of
    a gradient that hardly varies, an average that the new gradient cancels. Arithmetic in float32 cannot know its
    inputs better than that.
    """
    wanted = expected(case, before, step, **options)
    moved = {name: np.zeros_like(array) for name, array in wanted.items()}
    for seed in range(16):
        rng = np.random.default_rng(seed)
        nearby = {
            name: array.astype("f8") * (1 + ULP * rng.choice([-1, 1], array.shape)) for name, array in before.items()
        }
        for name, array in expected(case, nearby, step, **options).items():
            moved[name] = np.maximum(moved[name], np.abs(array - wanted[name]))
    for name in case.written:
        value = np.maximum(np.abs(wanted[name]), np.abs(before[name].astype("f8")))
        allowed = (1 if name == case.target else 2) * ULP * value + 4 * moved[name] + np.finfo("f4").tiny
        excess = np.abs(got[name].astype("f8") - wanted[name]) / allowed
        worst = int(np.argmax(excess)) if excess.size else 0
        assert not np.any(excess > 1), (
            f"{case.name}: {name}[{worst}] is {got[name].flat[worst]!r}, expected {wanted[name].flat[worst]!r}, "
            f"{excess.flat[worst]:.2f} of what is allowed"
        )


@pytest.mark.ci
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_rounding_at_every_size(case, backend, dtype):
    for size in SIZES:
        for step in (1, 7, 5000):
            arrays = case.make_arrays(size, dtype, seed=size + step)
            before = copies(arrays)
            case.run(arrays, step, backend=backend)
            if dtype == "float32":
                assert_accurate(case, before, step, arrays)
            else:  # the oracle rounds as well
                wanted = expected(case, before, step)
                for name in case.written:
                    np.testing.assert_allclose(arrays[name], wanted[name], rtol=1e-11, atol=1e-12)
            np.testing.assert_array_equal(arrays["grad"], before["grad"])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reference_backend_is_the_oracle_rounded_once(case, dtype):
    arrays = case.make_arrays((3, 5), dtype)
    wanted = expected(case, arrays, 3)
    case.run(arrays, 3, backend="reference")
    assert_same_bits(arrays, {name: wanted[name].astype(dtype) for name in wanted})


@pytest.mark.parametrize("scale", [-1.0, 1 / 1024, 0.0])
@pytest.mark.parametrize("case", [case for case in CASES if case.target == "param"], ids=lambda case: case.name)
def test_grad_scale_multiplies_the_gradient(case, scale):
    arrays = case.make_arrays(257)
    before = copies(arrays)
    case.run(arrays, 4, grad_scale=scale)
    assert_accurate(case, before, 4, arrays, grad_scale=scale)


def test_adam_without_the_first_average_is_rmsprop():
    adam, rmsprop = BY_NAME["adam-uncorrected"].make_arrays(1000), BY_NAME["rmsprop"].make_arrays(1000)
    rmsprop["square_avg"][:] = adam["v"]
    adam["m"][:] = 1e10  # what beta1 = 0 must forget at once
    fastopt.adam(**adam, step=1, lr=1e-2, beta1=0.0, beta2=0.99, bias_correction=False)
    fastopt.rmsprop(**rmsprop, lr=1e-2, decay=0.99)
    np.testing.assert_array_equal(adam["param"], rmsprop["param"])
    np.testing.assert_array_equal(adam["m"], adam["grad"])


@pytest.mark.parametrize("inside", [False, True])
def test_eps_zero_keeps_an_element_without_gradients_and_bounds_the_step_of_one_with_tiny_ones(inside):
    param, grad, square_avg = (np.array(x, "f4") for x in ([1, 1, 1], [0, 0.5, 1e-19], [0, 0.25, 0]))
    fastopt.rmsprop(param, grad, square_avg, lr=0.1, eps=0, eps_inside_sqrt=inside)
    assert param[0] == 1
    np.testing.assert_allclose(param[1], 0.9, rtol=1e-6)
    assert 0.8 < param[2] <= 1


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in BY_NAME if "eps" in signature(BY_NAME[name].update).parameters])
def test_eps_zero_with_zero_gradient_and_zero_state_leaves_the_parameter(name, dtype, backend):
    """Where the formula as written has 0 / 0."""
    case = BY_NAME[name]
    arrays = {each: np.zeros(40, dtype) for each in case.arrays}
    arrays["param"] += np.arange(40)
    for step in (1, 2, 7):
        case.run(arrays, step, eps=0.0, weight_decay=0.0, backend=backend)
        np.testing.assert_array_equal(arrays["param"], np.arange(40))
        for state in case.state:
            assert np.all(abs(arrays[state]) <= np.finfo(dtype).tiny)


@pytest.mark.parametrize("warmup", [1, 3, 100])
def test_a_warm_up_of_ademamix_with_beta3_below_beta1_has_beta3_at_once(warmup):
    """It goes from beta1 up to beta3, but never above beta3: the slow average is then not that of beta1."""
    param, grad, m1, m2, v = np.zeros((5, 20))
    grad[...] = np.linspace(-2, 3, 20)
    wanted = np.zeros(20)
    for step in range(1, 6):
        fastopt.ademamix(param, grad, m1, m2, v, step=step, lr=0.1, beta1=0.9, beta3=0.5, warmup=warmup)
        wanted = 0.5 * wanted + 0.5 * grad
        np.testing.assert_allclose(m2, wanted, rtol=1e-14)


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_rprop_with_one_size_of_step(backend):
    param, grad, prev_grad = np.zeros(4), np.array([2.0, -3.0, 1.0, 0.0]), np.array([1.0, -1.0, -1.0, 1.0])
    step_size = np.array([1e-9, 0.25, 50.0, 1.0])
    fastopt.rprop(param, grad, prev_grad, step_size, step_min=0.25, step_max=0.25, backend=backend)
    assert step_size.tolist() == [0.25] * 4
    assert param.tolist() == [-0.25, 0.25, 0.0, 0.0]


def test_weight_decay_of_zero_leaves_an_infinite_parameter():
    param, grad = np.array([-np.inf, 1], "f4"), np.zeros(2, "f4")
    fastopt.sgd(param, grad, lr=0.1)
    assert param[0] == -np.inf


@pytest.mark.parametrize("step", [1, 2**24, 2**24 + 1, 2**40])
def test_steps_are_counted_beyond_float32(step):
    case = BY_NAME["adagrad"]
    arrays = case.make_arrays(100)
    before = copies(arrays)
    case.run(arrays, np.int64(step))
    assert_accurate(case, before, step, arrays)


# ---- What is stored in 16 bits


@pytest.mark.parametrize("dtype", ["float16", BFLOAT16], ids=str)
def test_every_16_bit_number_survives(dtype):
    """An sgd step with lr = 0 loads and stores each of them; bfloat16's subnormals flush, float16's do not."""
    param = np.arange(65536, dtype="u2").view(dtype)
    before = param.astype("f4")
    fastopt.sgd(param, np.zeros(65536, "f4"), lr=0.0)
    flushed = np.abs(before) < np.finfo("f4").tiny
    np.testing.assert_array_equal(param.astype("f4"), np.where(flushed, 0, before))


@pytest.mark.parametrize("grad_dtype", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", BFLOAT16], ids=str)
def test_16_bit_stores_round_once_to_nearest_even(dtype, grad_dtype):
    """All 16-bit numbers, the ties between them, and the neighbours of the ties, from float32 and float64."""
    numbers = finite_numbers(dtype)
    numbers = numbers[(numbers >= (2.0**-126 if dtype == BFLOAT16 else 0))]
    ties, near = (numbers[:-1] + numbers[1:]) / 2, np.finfo(grad_dtype).eps
    values = np.concatenate([numbers, ties, ties * (1 + near), ties * (1 - near)])
    values = np.concatenate([values, -values]).astype(grad_dtype)
    param = np.zeros(values.size, dtype)
    fastopt.sgd(param, -values, lr=1.0)
    np.testing.assert_array_equal(param.astype("f8"), nearest(values.astype("f8"), np.dtype(dtype)))


@pytest.mark.parametrize("dtype", ["float16", BFLOAT16], ids=str)
def test_what_is_too_large_for_16_bits_becomes_infinite_and_nan_stays_nan(dtype):
    param, change = np.zeros(6, dtype), np.array([3.4e38, -3.4e38, np.inf, -np.inf, np.nan, 65520], "f4")
    fastopt.sgd(param, -change, lr=1.0)
    wanted = [np.inf, -np.inf, np.inf, -np.inf, np.nan, np.inf if dtype == "float16" else 65536]
    np.testing.assert_array_equal(param.astype("f8"), wanted)


@pytest.mark.parametrize("dtype", ["float16", BFLOAT16], ids=str)
def test_every_nan_stays_nan(dtype):
    """Also one whose bits are all ones, which rounding up would carry over into a zero."""
    grad = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7FC00000], "u4").view("f4")
    param = np.zeros(4, dtype)
    fastopt.sgd(param, grad, lr=1.0)
    assert np.isnan(param.astype("f4")).all()


def finite_numbers(dtype: np.dtype) -> np.ndarray:
    """0 and the positive numbers of a 16-bit dtype in order, so that a position's parity is that of the last bit."""
    numbers = np.arange(0x7C00 if dtype == "float16" else 0x7F80, dtype="u2")
    return numbers.view(dtype).astype("f8")


def nearest(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The nearest number of a 16-bit dtype, the even one of two as near: by search, in float64."""
    numbers = finite_numbers(dtype)
    above = np.clip(np.searchsorted(numbers, np.abs(values)), 1, numbers.size - 1)
    to_below, to_above = np.abs(values) - numbers[above - 1], numbers[above] - np.abs(values)
    goes_below = np.where(to_below == to_above, above % 2 == 1, to_below < to_above)
    return np.copysign(np.where(goes_below, numbers[above - 1], numbers[above]), values)


@pytest.mark.parametrize("dtype", ["float16", BFLOAT16], ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_16_bit_storage_is_the_float32_result_rounded(case, dtype):
    stored = case.make_arrays(5000, dtype)
    wide = {name: array.astype("f4") for name, array in stored.items()}
    case.run(stored, 3)
    case.run(wide, 3)
    assert_same_bits(stored, {name: wide[name].astype(dtype) for name in case.written})


@pytest.mark.parametrize("dtypes", [("f8", "f4", "f2"), ("f4", BFLOAT16, "f8"), ("f2", "f8", BFLOAT16)], ids=str)
def test_each_array_has_its_own_dtype_and_float64_computes_in_float64(dtypes):
    case = BY_NAME["adamw"]
    mixed = case.make_arrays(3000)
    chosen = dict(zip(case.arrays, (*dtypes, dtypes[-1]), strict=True))
    mixed = {name: array.astype(chosen[name]) for name, array in mixed.items()}
    wide = {name: array.astype("f8") for name, array in mixed.items()}
    case.run(mixed, 3)
    case.run(wide, 3)
    for name in case.written:
        if chosen[name] in ("f8", "f4"):
            np.testing.assert_array_equal(mixed[name], wide[name].astype(chosen[name]))
        else:
            np.testing.assert_array_equal(mixed[name].astype("f8"), nearest(wide[name], np.dtype(chosen[name])))
