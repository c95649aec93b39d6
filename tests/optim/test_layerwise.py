"""Layer-wise optimizers against their formula in float64, for all layouts and storage types."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from fastopt import optim
from tests.support import assert_same_bits

SHAPES = [(30, 70), (5,), (3, 4, 5), (0, 2), (70_000,)]


def norm(values):
    return np.sqrt(np.sum(values * values))


def lars(params, grads, state, step, *, lr, momentum, nesterov, trust_coefficient, eps, weight_decay, grad_scale):
    """You, Gitman and Ginsburg 2017, algorithm 1."""
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        g = grad_scale * grad
        trust = 1.0
        if norm(param) > 0 and norm(g) > 0:
            trust = trust_coefficient * norm(param) / (norm(g) + weight_decay * norm(param) + eps)
        change = lr * trust * (g + weight_decay * param)
        velocity = state.setdefault((i, "velocity"), np.zeros_like(param))
        velocity[...] = momentum * velocity + change
        param -= momentum * velocity + change if nesterov else velocity


def lamb(params, grads, state, step, *, lr, beta1, beta2, eps, weight_decay, grad_scale):
    """You et al. 2020, algorithm 2, with phi the identity."""
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        g = grad_scale * grad
        m = state.setdefault((i, "m"), np.zeros_like(param))
        v = state.setdefault((i, "v"), np.zeros_like(param))
        m[...] = beta1 * m + (1 - beta1) * g
        v[...] = beta2 * v + (1 - beta2) * g**2
        direction = m / (1 - beta1**step) / (np.sqrt(v / (1 - beta2**step)) + eps) + weight_decay * param
        trust = norm(param) / norm(direction) if norm(param) > 0 and norm(direction) > 0 else 1.0
        param -= lr * trust * direction


LARS = {"lr": 0.3, "momentum": 0.9, "nesterov": False, "trust_coefficient": 0.02, "eps": 1e-3, "weight_decay": 0.1}
LAMB = {"lr": 0.02, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.1}
RULES = {
    "lars": (optim.LARS, lars, LARS),
    "lars-nesterov": (optim.LARS, lars, {**LARS, "nesterov": True}),
    "lars-plain": (optim.LARS, lars, {**LARS, "eps": 0.0, "weight_decay": 0.0}),
    "lamb": (optim.LAMB, lamb, LAMB),
    "lamb-plain": (optim.LAMB, lamb, {**LAMB, "weight_decay": 0.0}),
}
every_rule = pytest.mark.parametrize("name", RULES)


def models(seed, dtype=np.float32, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@every_rule
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-14)])
def test_steps_follow_the_formula(name, dtype, tolerance):
    make, formula, hyperparameters = RULES[name]
    params = models(0, dtype)
    params[2][...] = 0  # a norm of 0: the ratio is 1
    wanted = [param.astype(np.float64) for param in params]
    optimizer, state = make(params, **hyperparameters), {}
    for step in range(1, 6):
        grads = models(step, dtype)
        if step == 2:
            grads[0][...] = 0
        optimizer.step(grads, grad_scale=0.5)
        formula(wanted, [grad.astype(np.float64) for grad in grads], state, step, **hyperparameters, grad_scale=0.5)
        for param, other in zip(params, wanted, strict=True):
            np.testing.assert_allclose(param, other, rtol=tolerance, atol=tolerance)


@every_rule
def test_clipping_comes_first(name):
    make, _, hyperparameters = RULES[name]
    params, wanted = models(0), models(0)
    clipped, scaled = make(params, **hyperparameters), make(wanted, **hyperparameters)
    for step in range(3):
        grads = models(step)
        result = clipped.step(grads, max_norm=2.0)
        scaled.step(grads, grad_scale=2.0 / result.grad_norm)
    assert_same_bits(dict(enumerate(params)), dict(enumerate(wanted)))


@every_rule
def test_16_bit_parameters_and_masters(name):
    make, formula, hyperparameters = RULES[name]
    params = models(0, ml_dtypes.bfloat16)
    wanted = [param.astype(np.float64) for param in params]
    optimizer, state = make(params, **hyperparameters, master_weights=True), {}
    for step in (1, 2, 3):
        grads = models(step, ml_dtypes.bfloat16)
        optimizer.step(grads)
        formula(wanted, [grad.astype(np.float64) for grad in grads], state, step, **hyperparameters, grad_scale=1.0)
        for i, other in enumerate(wanted):
            np.testing.assert_allclose(optimizer.state[i]["master"], other, rtol=2e-6, atol=2e-6)
            assert np.array_equal(params[i], optimizer.state[i]["master"].astype(ml_dtypes.bfloat16))


def test_a_learning_rate_of_zero_changes_state_only():
    params = models(0)
    optimizer = optim.LAMB(params, lr=0.0)
    optimizer.step(models(1))
    assert np.all(optimizer.state[0]["m"] != 0)
    assert_same_bits(dict(enumerate(params)), dict(enumerate(models(0))))


@every_rule
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_or_skipped(name, bad):
    make, _, hyperparameters = RULES[name]
    params, grads = models(0), models(1)
    grads[2][1, 1, 1] = bad
    optimizer = make(params, **hyperparameters)
    with pytest.raises(ValueError, match=r"params\[2\] has a norm of .* expected finite gradients"):
        optimizer.step(grads)
    assert optimizer.step(grads, skip_nonfinite=True).skipped
    assert_same_bits(dict(enumerate(params)), dict(enumerate(models(0))))


@pytest.mark.parametrize("size", [1e-170, 1e160])
def test_norms_stay_in_the_range_of_float64(size):
    params, wanted = [np.array([3.0, 4.0]), np.full(5, size)], [np.array([3.0, 4.0]), np.full(5, size)]
    optim.LARS(params, **LARS).step([np.full(2, size), np.ones(5)])
    # The formula, in units in which its squares stay in range.
    g = np.full(2, 1.0)
    trust = 0.02 * 5.0 / (np.sqrt(2.0) * size + 0.1 * 5.0 + 1e-3)
    np.testing.assert_allclose(params[0], wanted[0] - 0.3 * trust * (size * g + 0.1 * wanted[0]), rtol=1e-12)
    trust = 0.02 * np.sqrt(5.0) * size / (np.sqrt(5.0) + 0.1 * np.sqrt(5.0) * size + 1e-3)
    np.testing.assert_allclose(params[1], wanted[1] - 0.3 * trust * (1.0 + 0.1 * wanted[1]), rtol=1e-12)


@pytest.mark.parametrize("size", [1e-44, 2e-38])
def test_a_gradient_that_is_all_but_nothing_does_not_stop_the_others(size):
    """Subnormal numbers count as zeros; of the least others, the trust ratio is beyond float32."""
    params = [np.full(3, 100, np.float32), np.ones(3, np.float32)]
    optim.LARS(params, lr=1.0, trust_coefficient=1.0).step([np.full(3, size, np.float32), np.ones(3, np.float32)])
    assert np.all((params[0] > 0) & (params[0] <= 100))
    assert np.all(params[1] == 0)
