"""Schedules against PyTorch's and optax's, step by step."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from fastopt.schedules import (
    ReduceOnPlateau,
    constant,
    cosine,
    cosine_restarts,
    exponential,
    inverse_sqrt,
    inverse_time,
    linear,
    one_cycle,
    per_epoch,
    piecewise,
    polynomial,
    sequence,
    step,
    warmup,
)
from tests.peers import peer

pytestmark = pytest.mark.peers

#: Steps that are compared, unless a peer does something else after its end.
COUNT = 400
LR = 0.2

# Relative to LR. PyTorch multiplies the rate by the ratio of one step to the next, which gathers 6e-16, measured.
TOLERANCE = 1e-14


def assert_same_rates(ours, theirs):
    rates = [ours(number) for number in range(1, len(theirs) + 1)]
    np.testing.assert_allclose(rates, theirs, rtol=0, atol=TOLERANCE * LR)


# ---- PyTorch. It counts from 0, and its schedulers multiply the optimizer's own learning rate.


def torch_optimizer(lr=LR):
    torch = peer("torch")
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr)


def torch_rates(scheduler, optimizer, count):
    """Return the learning rate of each update."""
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def _one_cycle(steps, pct_start, **options):
    """PyTorch ends at its last update, not after it, and so does the way up."""
    return one_cycle(LR, steps - 1, (pct_start * steps - 1) / (steps - 1), **options)


TORCH = {
    "LambdaLR": (inverse_time(LR, 0.5), lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + 0.5 * t))),
    "LambdaLR-sqrt": (inverse_sqrt(LR), lambda s, o: s.LambdaLR(o, lambda t: (t + 1) ** -0.5)),
    "StepLR": (step(LR, 30, 0.5), lambda s, o: s.StepLR(o, 30, 0.5)),
    "MultiStepLR": (
        piecewise([LR, LR / 10, LR / 100], [30, 80]),
        lambda s, o: s.MultiStepLR(o, [30, 80], gamma=0.1),
    ),
    "ConstantLR": (piecewise([LR / 4, LR], [30]), lambda s, o: s.ConstantLR(o, 0.25, 30)),
    "LinearLR": (linear(LR / 4, 30, 0.75 * LR), lambda s, o: s.LinearLR(o, 0.25, 0.75, 30)),
    "ExponentialLR": (exponential(LR, 0.95), lambda s, o: s.ExponentialLR(o, 0.95)),
    "PolynomialLR": (polynomial(LR, 90, power=2), lambda s, o: s.PolynomialLR(o, 90, 2.0)),
    "CosineAnnealingLR": (cosine(LR, 90, 0.01), lambda s, o: s.CosineAnnealingLR(o, 90, 0.01), 91),
    "CosineAnnealingWarmRestarts": (
        cosine_restarts(LR, 30, 0.01),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 30, eta_min=0.01),
    ),
    "CosineAnnealingWarmRestarts-3": (
        cosine_restarts(LR, 7, 0.01, 3),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, 3, 0.01),
    ),
    "OneCycleLR": (
        _one_cycle(100, 0.3),
        lambda s, o: s.OneCycleLR(o, LR, 100, cycle_momentum=False),
        100,
    ),
    "OneCycleLR-linear": (
        _one_cycle(95, 0.37, div_factor=5, final_div_factor=8, anneal="linear"),
        lambda s, o: s.OneCycleLR(
            o, LR, 95, pct_start=0.37, anneal_strategy="linear", cycle_momentum=False, div_factor=5, final_div_factor=8
        ),
        95,
    ),
    "OneCycleLR-three": (
        _one_cycle(100, 0.3, three_phase=True),
        lambda s, o: s.OneCycleLR(o, LR, 100, cycle_momentum=False, three_phase=True),
        100,
    ),
    "SequentialLR": (
        sequence([constant(LR / 4), exponential(LR, 0.9), linear(LR, 20)], [20, 50]),
        lambda s, o: s.SequentialLR(
            o, [s.ConstantLR(o, 0.25, 1000), s.ExponentialLR(o, 0.9), s.LinearLR(o, 1.0, 0.0, 20)], [20, 50]
        ),
    ),
    "SequentialLR-warmup": (
        warmup(exponential(LR, 0.9), 30, start=LR / 4),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.25, 1.0, 30), s.ExponentialLR(o, 0.9)], [30]),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch(name):
    ours, make, *count = TORCH[name]
    optimizer = torch_optimizer()
    scheduler = make(peer("torch").optim.lr_scheduler, optimizer)
    assert_same_rates(ours, torch_rates(scheduler, optimizer, *count or [COUNT]))


def metrics_of(seed):
    """A loss that falls and stalls, with ties, infinities and NaN."""
    rng = np.random.default_rng(seed)
    losses = np.round(np.exp(-np.arange(150) / 30) + 0.05 * rng.standard_normal(150) + 0.1, 2)
    odd = rng.random(150)
    return np.select([odd < 0.05, odd < 0.08, odd > 0.97], [nan, inf, -inf if seed % 2 else 0.0], losses)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 0, "factor": 0.5, "threshold": 0.05},
        {"patience": 3, "factor": 0.7, "cooldown": 2, "min_lr": 0.02},
        {"patience": 1, "factor": 0.5, "eps": 0.01, "threshold": 0.0},
    ],
    ids=lambda options: ",".join(options) or "defaults",
)
def test_reduce_on_plateau(options, threshold_mode, mode, seed):
    optimizer = torch_optimizer()
    options = {**options, "mode": mode, "threshold_mode": threshold_mode}
    theirs = peer("torch").optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    ours = ReduceOnPlateau(LR, **options)
    for metric in metrics_of(seed):
        ours.observe(metric)
        theirs.step(metric)
        assert ours(1) == optimizer.param_groups[0]["lr"]
        for name in ("best", "num_bad_epochs", "cooldown_counter"):
            assert getattr(ours, name) == getattr(theirs, name)
    assert ours(1) < LR


# ---- optax. It counts from 0, too.


OPTAX = {
    "exponential_decay": (
        exponential(LR, 0.5, 30, final=0.01),
        lambda optax: optax.exponential_decay(LR, 30, 0.5, end_value=0.01),
    ),
    "exponential_decay-staircase": (
        step(LR, 30, 0.5),
        lambda optax: optax.exponential_decay(LR, 30, 0.5, staircase=True),
    ),
    "exponential_decay-per-epoch": (
        per_epoch(exponential(LR, 0.5), 30),
        lambda optax: optax.exponential_decay(LR, 30, 0.5, staircase=True),
    ),
    "exponential_decay-begin": (
        sequence([constant(LR), exponential(LR, 0.5, 30)], [50]),
        lambda optax: optax.exponential_decay(LR, 30, 0.5, transition_begin=50),
    ),
    "polynomial_schedule": (polynomial(LR, 90, 0.01, 3), lambda optax: optax.polynomial_schedule(LR, 0.01, 3, 90)),
    "linear_schedule": (linear(0.01, 90, LR), lambda optax: optax.linear_schedule(0.01, LR, 90)),
    "piecewise_constant_schedule": (
        piecewise([LR, LR / 2, LR / 20], [30, 80]),
        lambda optax: optax.piecewise_constant_schedule(LR, {30: 0.5, 80: 0.1}),
    ),
    "cosine_decay_schedule": (cosine(LR, 90, 0.1 * LR), lambda optax: optax.cosine_decay_schedule(LR, 90, 0.1)),
    "warmup_cosine_decay_schedule": (
        warmup(cosine(LR, 70, 0.02), 20, start=0.01),
        lambda optax: optax.warmup_cosine_decay_schedule(0.01, LR, 20, 90, 0.02),
    ),
    "warmup_exponential_decay_schedule": (
        warmup(exponential(LR, 0.5, 30), 20),
        lambda optax: optax.warmup_exponential_decay_schedule(0.0, LR, 20, 30, 0.5),
    ),
    "warmup_constant_schedule": (
        warmup(constant(LR), 20, start=0.01),
        lambda optax: optax.warmup_constant_schedule(0.01, LR, 20),
    ),
    "cosine_onecycle_schedule": (one_cycle(LR, 100), lambda optax: optax.cosine_onecycle_schedule(100, LR)),
    "linear_onecycle_schedule": (
        one_cycle(LR, 100, 0.25, anneal="linear", three_phase=True),
        lambda optax: optax.linear_onecycle_schedule(100, LR, pct_start=0.25, pct_final=0.5),
    ),
    "join_schedules": (
        sequence([linear(0.0, 30, LR), cosine(LR, 40), constant(0.01)], [20, 80]),
        lambda optax: optax.join_schedules(
            [
                optax.linear_schedule(0.0, LR, 30),
                optax.cosine_decay_schedule(LR, 40),
                optax.constant_schedule(0.01),
            ],
            [20, 80],
        ),
    ),
    "sgdr_schedule": (
        sequence([warmup(cosine(LR, 30), 10), warmup(cosine(LR / 2, 70), 10)], [40]),
        lambda optax: optax.sgdr_schedule(
            [
                {"init_value": 0.0, "peak_value": LR, "warmup_steps": 10, "decay_steps": 40},
                {"init_value": 0.0, "peak_value": LR / 2, "warmup_steps": 10, "decay_steps": 80},
            ]
        ),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_optax(name):
    jax, optax = peer("jax"), peer("optax")
    ours, make = OPTAX[name]
    with jax.enable_x64(True):
        theirs = jax.vmap(make(optax))(jax.numpy.arange(float(COUNT)))
    assert theirs.dtype == np.float64
    assert_same_rates(ours, np.asarray(theirs))
