"""The average of a constant is the constant: parameters, running statistics, features, for any decay."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt import optim
from fastopt.scaling import StandardScaler, Whitener
from tests.peers import peer
from tests.support import LAYOUTS, assert_same_bits, bits

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
DECAYS = [0.0, 1e-30, 1e-3, 0.3, 0.5, 0.9, 0.999, 0.99999, 0.999999, 1 - 1e-12, 1.0]

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
every_decay = pytest.mark.parametrize("decay", DECAYS)
compiled = pytest.mark.parametrize("backend", ["cython", "numba"])


def weights(dtype, size=40, seed=0):
    """Numbers of all sizes, and those of a mask."""
    rng = np.random.default_rng(seed)
    some = rng.standard_normal(size) * 10.0 ** rng.integers(-3, 3, size)
    return np.concatenate([some, [0.0, -np.inf, np.inf, 1.0, 1 / 3]]).astype(dtype)


# ---- What does not change


@pytest.mark.parametrize("decay", [0.99999, 0.999999])
def test_an_average_of_constant_parameters_after_200_000_steps(decay):
    """It shrank by 1.2e-3 and 1.3e-2 where decay and 1 - decay were rounded to float32 one by one."""
    params = [weights(dtype) for dtype in DTYPES]
    optimizer = optim.SGD(params, lr=0.0, ema_decay=decay)
    before = [state["ema"].copy() for state in optimizer.state]
    grads = [np.zeros_like(param) for param in params]
    for _ in range(200_000):
        optimizer.step(grads)
    assert_same_bits({i: state["ema"] for i, state in enumerate(optimizer.state)}, dict(enumerate(before)))


@every_decay
@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_an_average_of_constant_parameters(layout, dtype, decay):
    params = [layout(weights(dtype).reshape(9, 5))]
    optimizer = optim.SGD(params, lr=0.0, ema_decay=decay, master_weights=True)
    average = optimizer.state[0]["ema"]
    for _ in range(50):
        optimizer.step([np.zeros((9, 5), dtype)])
    assert np.array_equal(average, params[0].astype(average.dtype))


@compiled
@every_dtype
def test_the_average_of_asgd(dtype, backend):
    param, average = weights(dtype), weights(dtype)
    for step in range(1, 300):
        fastopt.asgd(param, np.zeros_like(param), average, step=step, lr=0.0, t0=9.5, backend=backend)
    assert_same_bits({"param": param, "average": average}, {"param": weights(dtype), "average": weights(dtype)})


@every_decay
@every_dtype
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("x_dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_running_statistics(x_dtype, axis, dtype, decay):
    x = (5 * np.random.default_rng(1).standard_normal((12, 7, 7)) + 3).astype(x_dtype)
    mean, var = np.zeros(7, dtype), np.ones(7, dtype)
    fastopt.batch_norm_forward(x, None, None, mean, var, momentum=1.0, axis=axis)
    wanted = {"mean": mean.copy(), "var": var.copy()}
    for _ in range(200):
        fastopt.batch_norm_forward(x, None, None, mean, var, momentum=1.0 - decay, axis=axis)
    assert_same_bits({"mean": mean, "var": var}, wanted)


@pytest.mark.parametrize("kind", [StandardScaler, Whitener], ids=lambda kind: kind.__name__)
def test_the_mean_of_batches_that_are_all_the_same(kind):
    x = np.random.default_rng(1).standard_normal((30, 3)) + 1e3
    scaler = kind().fit(x)
    mean = scaler.mean.copy()
    for _ in range(1000):
        scaler.partial_fit(x)
    assert_same_bits({"mean": scaler.mean}, {"mean": mean})


# ---- What does


@every_decay
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_an_average_of_parameters_that_move(dtype, decay):
    """Within a random walk of as many roundings as the average remembers; rounded decays were 110 ulp off at 0.999."""
    rng = np.random.default_rng(2)
    param = np.ones(500, dtype)
    optimizer = optim.SGD([param], lr=1.0, ema_decay=decay)
    wanted, gain = param.astype(np.longdouble), 1 - np.longdouble(decay)
    for _ in range(2000):
        optimizer.step([(0.01 * rng.standard_normal(500) - 0.001).astype(dtype)])
        wanted += gain * (param - wanted)
    remembered = 2000 if decay == 1 else min(2000, 1 / (1 - decay))
    error = abs(optimizer.state[0]["ema"] - wanted) / abs(wanted)
    assert error.max() < 3 * np.sqrt(remembered) * np.finfo(dtype).eps


@pytest.mark.peers
@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999, 0.99999])
def test_pytorch_s_averaged_model(decay):
    torch = peer("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = torch.nn.Linear(20, 30)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    theirs.update_parameters(model)  # the first one copies
    params = [param.detach().numpy() for param in model.parameters()]
    optimizer = optim.SGD(params, lr=0.1, ema_decay=decay)
    rng = np.random.default_rng(3)
    for _ in range(500):
        optimizer.step([rng.standard_normal(param.shape).astype(np.float32) for param in params])
        theirs.update_parameters(model)
    for state, their in zip(optimizer.state, theirs.module.parameters(), strict=True):
        np.testing.assert_allclose(state["ema"], their.detach().numpy(), rtol=2e-6, atol=1e-7)


def test_a_small_decay_does_not_cancel():
    """What is left of a large average is as exact as the parameter that is added to it."""
    param = np.full(5, 1.0, np.float32)
    optimizer = optim.SGD([param], lr=0.0, ema_decay=1e-6)
    optimizer.state[0]["ema"][...] = 1e10
    optimizer.step([np.zeros(5, np.float32)])
    np.testing.assert_allclose(optimizer.state[0]["ema"], 1e10 * 1e-6 + 1.0, rtol=2e-7)


# ---- What weighs nothing is not looked at


@pytest.mark.parametrize("old", [np.nan, np.inf, -np.inf, 1e38])
@every_dtype
def test_an_average_of_decay_0_is_the_parameter_whatever_it_was(dtype, old):
    param = weights(dtype)
    optimizer = optim.SGD([param], lr=0.0, ema_decay=0.0)
    average = optimizer.state[0]["ema"]
    average[...] = old
    optimizer.step([np.zeros_like(param)])
    assert_same_bits({"ema": average}, {"ema": param.astype(average.dtype)})


def test_an_average_of_decay_1_stays_whatever_the_parameter_is():
    param = np.array([np.nan, np.inf, 2.0], np.float32)
    optimizer = optim.SGD([param], lr=0.0, ema_decay=1.0)
    optimizer.state[0]["ema"][...] = 1.0
    optimizer.step([np.zeros(3, np.float32)])
    assert optimizer.state[0]["ema"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
@pytest.mark.parametrize("old", [np.nan, np.inf, 1e30])
def test_the_average_of_asgd_starts_anew_whatever_it_was(old, backend):
    param, average = np.array([0.25, -3.0], np.float32), np.full(2, old, np.float32)
    fastopt.asgd(param, np.ones(2, np.float32), average, step=3, lr=0.1, t0=5, backend=backend)
    assert np.array_equal(bits(average), bits(param))


@pytest.mark.parametrize(
    ("update", "states", "options"),
    [
        (fastopt.momentum, 1, {"lr": 0.1, "momentum": 0.0}),
        (fastopt.signum, 1, {"beta": 0.0}),
        (fastopt.adam, 2, {"step": 1, "beta1": 0.0, "beta2": 0.0}),
        (fastopt.rmsprop, 1, {"decay": 0.0}),
    ],
)
def test_state_of_gradients_keeps_a_nan_though_its_factor_is_0(update, states, options):
    """As docs/numerics.md says: to look for it would cost every element of every step."""
    param, grad = np.ones(3, np.float32), np.full(3, 0.5, np.float32)
    state = [np.array([np.nan, np.inf, 2.0], np.float32) for _ in range(states)]
    update(param, grad, *state, **options)
    for array in state:
        assert np.isnan(array).tolist() == [True, True, False]
    assert np.isnan(param).tolist() == [True, True, False]


@pytest.mark.parametrize("running", [np.nan, np.inf])
def test_a_momentum_of_1_takes_the_batch_s_statistics_and_one_of_0_leaves_the_running_ones(running):
    x = np.random.default_rng(1).standard_normal((12, 3))
    mean, var = np.full((2, 3), running)
    fastopt.batch_norm_forward(x, None, None, mean, var, momentum=0.0)
    assert np.array_equal([mean, var], np.full((2, 3), running), equal_nan=True)
    fastopt.batch_norm_forward(x, None, None, mean, var, momentum=1.0)
    np.testing.assert_allclose([mean, var], [x.mean(0), x.var(0, ddof=1)], rtol=1e-13, atol=1e-16)
