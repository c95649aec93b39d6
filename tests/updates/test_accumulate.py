"""Accumulation: new and continued sums, gradients of lower precision, factors. See the cases for the rest."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import fastopt
from tests.peers import peer
from tests.support import bits


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", ml_dtypes.bfloat16])
@pytest.mark.parametrize("held", [np.nan, np.inf, -np.inf])
def test_beta_0_starts_anew_whatever_acc_holds(held, dtype, backend):
    for beta in (0, 0.0, -0.0, np.float32(0), np.zeros(()), False):
        grad = np.linspace(-2, 2, 5000, dtype="f4").astype(dtype)
        acc = np.full(5000, held, dtype)
        fastopt.accumulate(acc, grad, alpha=2.0, beta=beta, backend=backend)
        np.testing.assert_array_equal(acc, (2 * grad.astype("f8")).astype(dtype))


def test_any_other_beta_reads_what_acc_holds():
    acc = np.array([np.nan, np.inf, 1, 2], "f4")
    fastopt.accumulate(acc, np.zeros(4, "f4"), beta=0.5)
    np.testing.assert_array_equal(acc, [np.nan, np.inf, 0.5, 1])


def test_alpha_0_is_a_factor():
    acc = np.ones(3, "f4")
    fastopt.accumulate(acc, np.array([1, np.inf, np.nan], "f4"), alpha=0)
    np.testing.assert_array_equal(acc, [1, np.nan, np.nan])


@pytest.mark.parametrize("dtype", ["f2", ml_dtypes.bfloat16])
def test_gradients_of_16_bits_are_summed_in_float32(dtype):
    acc, grad = np.empty(33, "f4"), np.ones(33, dtype)
    for number in range(3000):
        fastopt.accumulate(acc, grad, beta=float(number > 0))
    np.testing.assert_array_equal(acc, 3000)


def test_a_sum_in_the_order_of_its_terms_is_numpys():
    """With factors of 1 there is one rounding: that of the addition."""
    grads = np.random.default_rng(0).standard_normal((7, 10_007), "f4")
    acc, wanted = np.zeros(10_007, "f4"), np.zeros(10_007, "f4")
    for grad in grads:
        fastopt.accumulate(acc, grad)
        wanted += grad
    np.testing.assert_array_equal(bits(acc), bits(wanted))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alpha": np.nan}, ValueError, "alpha is nan; expected a finite number"),
        ({"beta": np.inf}, ValueError, "beta is inf; expected a finite number"),
        ({"beta": np.nan}, ValueError, "beta is nan; expected a finite number"),
        ({"beta": None}, TypeError, "beta is None, a NoneType; expected a finite number"),
        ({"alpha": "1"}, TypeError, "alpha is '1', a str; expected"),
        ({"beta": np.zeros(2)}, TypeError, r"beta is array\(\[0., 0.\]\), a ndarray; expected"),
        ({"alpha": 1e-50}, ValueError, r"alpha is 1e-50, which underflows to 0 in float32"),
        ({"alpha": 1e50}, ValueError, r"alpha is 1e\+50, which makes a coefficient infinite or NaN in float32"),
        ({"beta": -1e50}, ValueError, r"beta is -1e\+50, which makes a coefficient infinite or NaN in float32"),
    ],
)
def test_numbers_are_refused_by_name(options, error, message):
    acc = np.ones(3, "f4")
    with pytest.raises(error, match=message):
        fastopt.accumulate(acc, np.ones(3, "f4"), **options)
    np.testing.assert_array_equal(acc, 1)


@pytest.mark.parametrize("backend", [None, "numba", "reference"])
def test_arrays_are_refused_by_their_names(backend):
    acc = np.ones(3, "f4")
    with pytest.raises(ValueError, match=r"^grad has shape \(4,\); expected \(3,\), the shape of acc"):
        fastopt.accumulate(acc, np.ones(4, "f4"), backend=backend)
    with pytest.raises(TypeError, match=r"^acc has dtype int64"):
        fastopt.accumulate(np.ones(3, "i8"), np.ones(3, "f4"), backend=backend)
    with pytest.raises(ValueError, match=r"^grad overlaps acc in memory"):
        fastopt.accumulate(acc, acc, backend=backend)
    np.testing.assert_array_equal(acc, 1)


@pytest.mark.peers
def test_it_is_pytorchs_add():
    torch = peer("torch")
    rng = np.random.default_rng(1)
    for dtype in ("f4", "f8"):
        acc, grad = (rng.standard_normal(1001).astype(dtype) for _ in range(2))
        wanted = torch.from_numpy(acc.copy()).mul_(0.5).add_(torch.from_numpy(grad), alpha=-0.25)
        fastopt.accumulate(acc, grad, alpha=-0.25, beta=0.5)
        np.testing.assert_array_equal(acc, wanted.numpy())  # powers of two: PyTorch contracts a * b + c


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_in_a_compiled_function(beta):
    import numba

    import fastopt.numba

    @numba.njit
    def sum_up(acc, grad, beta):
        fastopt.numba.accumulate(acc, grad, alpha=0.25, beta=beta)

    acc, wanted = np.full((3, 5), 2.0, "f4"), np.full((3, 5), 2.0, "f4")
    grad = np.arange(15, dtype="f4").reshape(3, 5)
    sum_up(acc, grad, beta)
    fastopt.accumulate(wanted, grad, alpha=0.25, beta=beta)
    np.testing.assert_array_equal(bits(acc), bits(wanted))
