"""Promise 10, one rounding: every update against the float64 formula, on every backend, at awkward sizes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import fastopt
from tests.cases import BY_NAME, CASES
from tests.reference import expected
from tests.support import assert_same_bits, copies

SIZES = [0, 1, 2, 31, 1023, 1024, 1025, 100_003]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

# Half an ulp of the stored result, and the roundings before it: each moves the change of an element by 2^-24 of its
# size or so, a dozen of them at most, and the change itself may be larger than the result. Where the formula
# subtracts averages that nearly agree (a variance, a surprise) it amplifies what the rounding of these did.
AMPLIFIED = {"rmsprop-centered": 40.0, "rmsprop-centered-momentum": 40.0, "adabelief": 8.0}


def assert_close(case, got, before, wanted, dtype):
    """Each written array is within an ulp of its value or previous value, or 12 roundings of its change."""
    ulp = np.finfo(dtype).eps
    for name in case.written:
        change = np.abs(wanted[name] - before[name].astype("f8"))
        scale = np.maximum(np.abs(wanted[name]), np.abs(before[name].astype("f8")))
        allowed = AMPLIFIED.get(case.name, 1.0) * ulp * np.maximum(scale, 6 * change) + np.finfo(dtype).tiny
        error = np.abs(got[name].astype("f8") - wanted[name])
        worst = np.argmax(error / allowed) if error.size else 0
        assert np.all(error <= allowed), (
            f"{case.name}: {name}[{worst}] is {got[name].flat[worst]!r}, expected {wanted[name].flat[worst]!r}"
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_rounding_at_every_size(case, backend, dtype):
    for size in SIZES:
        for step in (1, 7, 5000):
            arrays = case.make_arrays(size, dtype, seed=size + step)
            before, wanted = copies(arrays), expected(case, arrays, step)
            case.run(arrays, step, backend=backend)
            if dtype == "float64":  # the oracle rounds as well
                for name in case.written:
                    np.testing.assert_allclose(arrays[name], wanted[name], rtol=1e-11, atol=1e-12)
            else:
                assert_close(case, arrays, before, wanted, dtype)
            np.testing.assert_array_equal(arrays["grad"], before["grad"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reference_backend_is_the_oracle_rounded_once(case):
    arrays = case.make_arrays((3, 5))
    wanted = expected(case, arrays, 3)
    case.run(arrays, 3, backend="reference")
    assert_same_bits(arrays, {name: wanted[name].astype("f4") for name in wanted})


@pytest.mark.parametrize("scale", [-1.0, 1 / 1024, 0.0])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_grad_scale_multiplies_the_gradient(case, scale):
    arrays = case.make_arrays(257)
    before, wanted = copies(arrays), expected(case, arrays, 4, grad_scale=scale)
    case.run(arrays, 4, grad_scale=scale)
    assert_close(case, arrays, before, wanted, "float32")


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


def test_weight_decay_of_zero_leaves_an_infinite_parameter():
    param, grad = np.array([-np.inf, 1], "f4"), np.zeros(2, "f4")
    fastopt.sgd(param, grad, lr=0.1)
    assert param[0] == -np.inf


@pytest.mark.parametrize("step", [1, 2**24, 2**24 + 1, 2**40])
def test_steps_are_counted_beyond_float32(step):
    case = BY_NAME["adagrad"]
    arrays = case.make_arrays(100)
    before, wanted = copies(arrays), expected(case, arrays, step)
    case.run(arrays, np.int64(step))
    assert_close(case, arrays, before, wanted, "float32")


# ---- What is stored in 16 bits


@pytest.mark.parametrize("dtype", ["float16", BFLOAT16], ids=str)
def test_every_16_bit_number_survives(dtype):
    """sgd with lr = 0 loads and stores each of the 65,536 numbers; bfloat16's subnormals flush, float16's do not."""
    param = np.arange(65536, dtype="u2").view(dtype)
    before = param.astype("f4")
    fastopt.sgd(param, np.zeros(65536, "f4"), lr=0.0)
    flushed = np.abs(before) < np.finfo("f4").tiny
    np.testing.assert_array_equal(param.astype("f4"), np.where(flushed, 0, before))


@pytest.mark.parametrize("grad_dtype", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", BFLOAT16], ids=str)
def test_16_bit_stores_round_once_to_nearest_even(dtype, grad_dtype):
    """Values, ties and the neighbours of ties between all positive 16-bit numbers, stored from float32 and float64."""
    low = np.arange(1, 65535, dtype="u2").view(dtype).astype("f8")
    low = low[np.isfinite(low) & (np.abs(low) >= (2.0**-126 if dtype == BFLOAT16 else 2.0**-24))]
    high = np.sort(low)
    ties = (high[:-1] + high[1:]) / 2
    near = np.finfo(grad_dtype).eps
    values = np.concatenate([low, ties, ties * (1 + near), ties * (1 - near)]).astype(grad_dtype)
    param = np.zeros(values.size, dtype)
    fastopt.sgd(param, -values, lr=1.0)
    np.testing.assert_array_equal(param.astype("f8"), nearest(values.astype("f8"), high))


def nearest(values: np.ndarray, sorted_numbers: np.ndarray) -> np.ndarray:
    """The nearest of the 16-bit numbers, and of two as near the one whose last bit is 0: by search, in float64."""
    numbers = np.unique(np.append(sorted_numbers, 0.0))
    above = np.clip(np.searchsorted(numbers, values), 1, numbers.size - 1)
    below_distance, above_distance = values - numbers[above - 1], numbers[above] - values
    even_below = np.round(np.frexp(numbers[above - 1])[0] * 2**11) % 2 == 0
    tie = below_distance == above_distance
    return (
        np.where(
            np.where(tie, parity_is_even(numbers, above - 1), below_distance < above_distance),
            numbers[above - 1],
            numbers[above],
        )
        if even_below.size
        else values
    )


def parity_is_even(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Adjacent numbers alternate in their last bit, and zero's is 0."""
    return (positions - np.flatnonzero(numbers == 0)[0]) % 2 == 0


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
            numbers = np.arange(65536, dtype="u2").view(chosen[name]).astype("f8")
            np.testing.assert_array_equal(
                mixed[name].astype("f8"), nearest(wide[name], np.unique(numbers[np.isfinite(numbers)]))
            )
