"""Norm objects with state, and statistics of whole data sets."""

from __future__ import annotations

import pickle
import re
import tracemalloc

import numpy as np
import pytest

import fastopt
from fastopt.norm import BatchNorm, DatasetStatistics, GroupNorm, InstanceNorm, LayerNorm
from tests.support import assert_same_bits

#: How each is made for x of shape (N, 6, 5).
NORMS = {
    "batch": lambda **options: BatchNorm(6, **options),
    "layer": lambda **options: LayerNorm((6, 5), **options),
    "instance": lambda **options: InstanceNorm(6, **options),
    "group": lambda **options: GroupNorm(6, groups=3, **options),
}
every_norm = pytest.mark.parametrize("name", NORMS)
every_activation = pytest.mark.parametrize("activation", [None, "relu"])


def values(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def made(name, **options):
    """A norm whose weight and bias are not the ones and zeros of a new one."""
    norm = NORMS[name](**options)
    norm.weight += values(*norm.weight.shape, seed=1)
    norm.bias += values(*norm.bias.shape, seed=2)
    return norm


def results(norm):
    return {name: getattr(norm, name) for name in ("y", "mean", "rstd", "dx", "dresidual", "dweight", "dbias")}


# ---- What they compute


@every_activation
@every_norm
def test_they_are_the_functions(name, activation):
    norm = made(name, activation=activation)
    x, residual, dy = (values(4, 6, 5, seed=seed) for seed in (3, 4, 5))
    options = {"activation": activation, **{"layer": {"axis": 1}, "group": {"groups": 3}}.get(name, {})}
    forward, backward = (getattr(fastopt, f"{name}_norm_{way}") for way in ("forward", "backward"))
    y, mean, rstd = forward(x, norm.weight, norm.bias, residual=residual, **options)
    dx, dweight, dbias, dresidual = backward(dy, x, norm.weight, mean, rstd, y=y, residual=True, **options)
    norm.forward(x, residual)
    norm.backward(dy)
    wanted = {"y": y, "mean": mean, "rstd": rstd, "dx": dx, "dresidual": dresidual, "dweight": dweight, "dbias": dbias}
    assert_same_bits(results(norm), wanted, name)


def slopes(loss, array):
    """The derivative of a loss by each element of an array, from the loss on both sides of it."""
    slope = np.empty(array.shape)
    for place in np.ndindex(array.shape):
        value, sides = array[place], []
        for array[place] in (value + 1e-5, value - 1e-5):
            sides.append(loss())
        array[place] = value
        slope[place] = (sides[0] - sides[1]) / 2e-5
    return slope


@pytest.mark.parametrize("mode", ["train", "eval"])
@every_activation
@every_norm
def test_gradients_are_slopes(name, activation, mode):
    """Through two norms and a residual connection, as in a network."""
    first, second = (getattr(made(name, activation=activation, dtype=np.float64), mode)() for _ in range(2))
    x, target = values(3, 6, 5, seed=3, dtype=np.float64), values(3, 6, 5, seed=4, dtype=np.float64)

    def loss():
        return 0.5 * np.square(second.forward(first.forward(x), residual=x) - target).sum()

    loss()
    between, skipped = second.backward(second.y - target)
    dx = first.backward(between) + skipped
    for array, grad in zip([x, *first.params, *second.params], [dx, *first.grads, *second.grads], strict=True):
        np.testing.assert_allclose(grad.copy(), slopes(loss, array), rtol=1e-5, atol=1e-6)


def test_the_result_has_a_residual_gradient_if_forward_had_a_residual():
    norm, x = made("batch"), values(4, 6, 5)
    norm.forward(x, x)
    assert isinstance(norm.backward(x), tuple)
    norm.forward(x)
    assert norm.backward(x) is norm.dx


@every_norm
def test_backward_before_forward(name):
    norm = made(name)
    with pytest.raises(RuntimeError, match=r"^\w+Norm\.backward was called before forward"):
        norm.backward(values(4, 6, 5))


@every_norm
def test_params_are_for_an_optimizer(name):
    norm, x = made(name), values(4, 6, 5)
    assert norm.params[0] is norm.weight
    assert norm.params[1] is norm.bias
    grads = norm.grads  # may be taken before the first backward
    norm.forward(x)
    norm.backward(x)
    for param, grad in zip(norm.params, grads, strict=True):
        assert grad.any()
        fastopt.sgd(param, grad, lr=0.1)
    assert made(name, affine=False).params == made(name, affine=False).grads == []


def test_16_bit_weights_have_wide_gradients_and_statistics():
    norm = BatchNorm(6, dtype=np.float16)
    norm.forward(values(4, 6, dtype=np.float16))
    norm.backward(values(4, 6, dtype=np.float16))
    assert {array.dtype for array in (norm.running_mean, norm.running_var, *norm.grads)} == {np.dtype(np.float32)}
    assert {array.dtype for array in (norm.y, norm.dx, *norm.params)} == {np.dtype(np.float16)}


@every_norm
def test_the_number_of_channels_is_checked(name):
    with pytest.raises(ValueError, match=r"^weight has shape"):
        NORMS[name](affine=False).forward(values(4, 9, 5))


def test_channels_last():
    first, last = made("batch"), made("batch", axis=-1)
    x = values(4, 6, 5)
    y = last.forward(np.ascontiguousarray(x.transpose(0, 2, 1)))
    np.testing.assert_array_equal(y.transpose(0, 2, 1), first.forward(x))


# ---- Training and inference


def test_train_and_eval_of_batch_norm():
    norm, x, dy = made("batch"), values(4, 6, 5), values(4, 6, 5, seed=3)
    assert norm.training
    assert norm.train() is norm
    norm.forward(x)
    seen = norm.state_dict()
    assert seen["batches_seen"] == 1
    assert norm.eval() is norm
    assert not norm.training
    running = norm.running_mean, norm.running_var
    y = norm.forward(x)
    np.testing.assert_array_equal(y, fastopt.batch_norm_inference(x, *norm.params, *running))
    dx, dweight, dbias = fastopt.batch_norm_backward_inference(dy, x, norm.weight, *running)
    norm.backward(dy)
    assert_same_bits(results(norm), {"dx": dx, "dweight": dweight, "dbias": dbias})
    assert_same_bits(norm.state_dict(), seen, "inference")


def test_backward_is_that_of_the_forward_before_it():
    norm, x, dy = made("batch"), values(4, 6, 5), values(4, 6, 5, seed=3)
    norm.forward(x)
    wanted = norm.backward(dy).copy()
    norm.eval()
    np.testing.assert_array_equal(norm.backward(dy), wanted)
    norm.forward(x)
    norm.train()
    assert not np.array_equal(norm.backward(dy), wanted)


@pytest.mark.parametrize("name", ["layer", "instance", "group"])
def test_train_and_eval_are_the_same_elsewhere(name):
    norm, x = made(name), values(4, 6, 5)
    y = norm.train().forward(x).copy()
    np.testing.assert_array_equal(norm.eval().forward(x), y)


# ---- Memory


@every_activation
@every_norm
def test_arrays_are_used_again(name, activation):
    norm, x = made(name, activation=activation), values(4, 6, 5)
    for _ in range(2):
        norm.forward(x, x)
        norm.backward(x)
    before = results(norm)
    for mode in (norm.train, norm.eval):
        mode()
        assert norm.forward(x + 1, x) is before["y"]
        norm.backward(x)
        assert all(array is before[kind] for kind, array in results(norm).items())


@every_norm
def test_another_shape_or_dtype_gets_arrays_of_its_own(name):
    norm = made(name)
    for x in (values(4, 6, 5), values(7, 6, 5), values(7, 6, 5, dtype=np.float64), values(0, 6, 5)):
        y = norm.forward(x, x)
        for array in (y, *norm.backward(x)):
            assert (array.shape, array.dtype) == (x.shape, x.dtype)


@every_norm
def test_a_training_loop_allocates_nothing(name):
    norm, x = made(name, activation="relu"), values(4096, 6, 5)

    def steps(count):
        for _ in range(count):
            norm.forward(x, x)
            norm.backward(x)

    steps(3)
    tracemalloc.start()
    try:
        steps(20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000 < x.nbytes / 20  # 14 kB are a call's own plan


def test_a_forward_that_fails_leaves_the_last_one():
    norm, x = made("batch"), values(4, 6, 5)
    norm.forward(x)
    before, dx = norm.state_dict(), norm.backward(x).copy()
    for bad in (x[:, :5], x.astype(int), x.tolist(), None):
        with pytest.raises((ValueError, TypeError)):
            norm.forward(bad)
    assert_same_bits(norm.state_dict(), before)
    np.testing.assert_array_equal(norm.backward(x), dx)


# ---- State


def trained(name, seed, steps=3, **options):
    norm = made(name, **options)
    for step in range(steps):
        train_a_step(norm, values(4, 6, 5, seed=seed + step))
    return norm


def train_a_step(norm, x):
    norm.forward(x)
    norm.backward(x)
    for param, grad in zip(norm.params, norm.grads, strict=True):
        fastopt.sgd(param, grad, lr=0.01)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@every_norm
def test_state_goes_on_where_it_was(name, dtype):
    old = trained(name, 10, dtype=dtype)
    new = NORMS[name](dtype=dtype)
    params = new.params
    new.load_state_dict(old.state_dict())
    assert all(a is b for a, b in zip(params, new.params, strict=True))  # an optimizer may hold them
    for norm in (old, new):
        train_a_step(norm, values(4, 6, 5, seed=20))
    assert_same_bits(new.state_dict(), old.state_dict(), name)
    assert_same_bits(results(new), {"y": old.y, "dx": old.dx})


def test_state_through_a_file(tmp_path):
    old, new = trained("batch", 10), BatchNorm(6)
    np.savez(tmp_path / "norm.npz", **old.state_dict())
    with np.load(tmp_path / "norm.npz") as state:
        new.load_state_dict(state)
    assert_same_bits(new.state_dict(), old.state_dict())


def test_state_is_copied():
    norm = trained("batch", 10)
    state = norm.state_dict()
    kept = {name: array.copy() for name, array in state.items()}
    train_a_step(norm, values(4, 6, 5))
    assert_same_bits(state, kept)
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "batches_seen"]
    assert list(BatchNorm(6, affine=False).state_dict()) == ["running_mean", "running_var", "batches_seen"]
    assert list(trained("layer", 10).state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var", "batches_seen"])
def test_state_that_does_not_fit_is_refused(name):
    norm, state = trained("batch", 10), trained("batch", 20).state_dict()
    before = norm.state_dict()
    good = state[name]
    for bad, error, message in [
        (np.zeros((7, *good.shape), good.dtype), ValueError, rf"^{name} has shape \(7,.*; expected \("),
        (good.astype(complex), TypeError, rf"^{name} has dtype complex128; expected {good.dtype}$"),
    ]:
        with pytest.raises(error, match=message):
            norm.load_state_dict({**state, name: bad})
    with pytest.raises(ValueError, match=rf"^state lacks {name}$"):
        norm.load_state_dict({key: array for key, array in state.items() if key != name})
    with pytest.raises(ValueError, match=r"^state has extra; expected only weight, bias"):
        norm.load_state_dict({**state, "extra": good})
    assert_same_bits(norm.state_dict(), before)


# ---- Statistics of data sets


def gathered(*batches, **options):
    statistics = DatasetStatistics(6, **options)
    for batch in batches:
        statistics.update(batch)
    return statistics


def assert_statistics_of(statistics, whole, axis=1):
    by_channel = np.moveaxis(whole.astype(np.float64), axis, 0).reshape(6, -1)
    assert statistics.count == by_channel.shape[1]
    np.testing.assert_allclose(statistics.mean, by_channel.mean(1), rtol=1e-13)
    # A mean of 1e6 is known to 1e-10.
    np.testing.assert_allclose(statistics.var(), by_channel.var(1), rtol=1e-10)
    np.testing.assert_allclose(statistics.var(unbiased=True), by_channel.var(1, ddof=1), rtol=1e-10)


@pytest.mark.parametrize("offset", [0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_merged_statistics_are_those_of_the_whole(dtype, offset):
    """Mean and variance drift from batch to batch, which a mean of variances would miss."""
    whole = values(100, 6, 5) * np.linspace(1, 3, 100)[:, None, None] + np.linspace(0, 9, 100)[:, None, None] + offset
    whole = whole.astype(dtype)
    batches = np.split(whole, [1, 2, 40, 40, 73])
    assert_statistics_of(gathered(*batches), whole)
    parts = gathered(*batches[:2]), gathered(), gathered(*batches[2:4]), gathered(*batches[4:])
    statistics = DatasetStatistics(6)
    for part in parts:
        statistics.merge(pickle.loads(pickle.dumps(part)))
    assert_statistics_of(statistics, whole)
    assert_statistics_of(gathered(*(batch.transpose(0, 2, 1) for batch in batches), axis=-1), whole)


def test_statistics_of_too_little():
    statistics = gathered()
    assert np.isnan(statistics.var()).all()
    statistics.update(values(0, 6))
    assert statistics.count == 0
    statistics.update(np.full((1, 6), 3, np.float32))
    assert (statistics.var() == 0).all()
    assert np.isnan(statistics.var(unbiased=True)).all()


def test_statistics_keep_channels_apart():
    x = values(8, 6)
    x[3, 2], x[5, 4] = np.inf, np.nan
    statistics = gathered(x[:4], x[4:])
    assert np.isfinite(statistics.mean).tolist() == np.isfinite(statistics.m2).tolist()
    assert np.isfinite(statistics.mean).tolist() == [True, True, False, True, False, True]


def test_statistics_of_other_channels_are_refused():
    statistics = gathered(values(8, 6))
    with pytest.raises(ValueError, match=r"^x has 5 channels; expected 6$"):
        statistics.update(values(8, 5))
    with pytest.raises(ValueError, match=r"^other has 5 channels; expected 6$"):
        statistics.merge(DatasetStatistics(5))
    assert statistics.count == 8


@pytest.mark.parametrize("unbiased", [True, False])
def test_batch_norm_uses_statistics(unbiased):
    whole = values(50, 6, 5) * 3 + 7
    statistics = gathered(whole[:20], whole[20:])
    norm = BatchNorm(6, unbiased=unbiased)
    norm.use(statistics)
    np.testing.assert_array_equal(norm.running_var, statistics.var(unbiased).astype(np.float32))
    y = norm.eval().forward(whole)
    np.testing.assert_allclose(y.mean((0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var((0, 2)), 1, rtol=5e-3)


def test_batch_norm_refuses_statistics_that_it_cannot_use():
    norm = BatchNorm(6)
    before = norm.state_dict()
    with pytest.raises(ValueError, match=r"^statistics have 5 channels; expected 6$"):
        norm.use(DatasetStatistics(5))
    with pytest.raises(ValueError, match=r"^statistics have a count of 1; expected 2 or more$"):
        norm.use(gathered(values(1, 6)))
    assert_same_bits(norm.state_dict(), before)


def test_a_variance_beyond_float32_stays_finite():
    norm = BatchNorm(6)
    norm.use(gathered(values(4, 6) * np.float32(1e30)))
    assert (norm.running_var == np.finfo(np.float32).max).all()


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (
            lambda: BatchNorm(4, dtype=int),
            TypeError,
            "dtype is <class 'int'>; expected one of float16, bfloat16",
        ),
        (lambda: LayerNorm(4, dtype=None), TypeError, "dtype is None; expected one of"),
        (lambda: LayerNorm(4, dtype="complex64"), TypeError, "dtype is 'complex64'; expected one of"),
        (lambda: LayerNorm(4, dtype=">f4"), TypeError, "dtype is '>f4'; expected one of"),
        (lambda: LayerNorm(4, dtype="number"), TypeError, "dtype is 'number'; expected one of"),
        (lambda: GroupNorm(4, groups=3), ValueError, "groups is 3; expected a divisor of 4, the number of channels"),
        (lambda: GroupNorm(4, groups=0), ValueError, "groups is 0; expected a whole number, 1 or more"),
        (lambda: BatchNorm(-1), ValueError, "channels is -1; expected a whole number, 0 or more"),
        (lambda: InstanceNorm(2.5), TypeError, "channels is 2.5, a float; expected a whole number, 0 or more"),
        (lambda: DatasetStatistics(-1), ValueError, "channels is -1; expected a whole number, 0 or more"),
        (lambda: LayerNorm((2, -1)), ValueError, "shape[1] is -1; expected a whole number, 0 or more"),
        (lambda: LayerNorm(()), ValueError, "shape is (); expected one axis or more"),
        (lambda: LayerNorm("ab"), TypeError, "shape is 'ab', a str; expected a whole number, 0 or more"),
        (lambda: BatchNorm(4, axis=0), ValueError, "axis is 0, the sample axis; expected another axis"),
        (lambda: DatasetStatistics(4, axis=0), ValueError, "axis is 0, the sample axis; expected another axis"),
        (lambda: BatchNorm(4, eps=-1), ValueError, "eps is -1.0; expected a finite number, 0 or more"),
        (lambda: LayerNorm(4, eps=np.nan), ValueError, "eps is nan; expected a finite number, 0 or more"),
        (lambda: BatchNorm(4, momentum=1.5), ValueError, "momentum is 1.5; expected a number from 0 to 1"),
        (lambda: BatchNorm(4, activation="gelu"), ValueError, "activation is 'gelu'; expected None or 'relu'"),
        (lambda: BatchNorm(4, activation=1), TypeError, "activation is 1; expected None or 'relu'"),
        (lambda: BatchNorm(4, backend="fortran"), ValueError, "backend is 'fortran'; expected None or one of 'cython'"),
        (lambda: DatasetStatistics(4, backend=1), TypeError, "backend is 1, a int; expected None or a string"),
        (lambda: BatchNorm(4, num_threads=0), ValueError, "num_threads is 0; expected a whole number, 1 or more"),
    ],
)
def test_what_can_be_known_is_refused_when_an_object_is_made(make, error, said):
    with pytest.raises(error, match=f"^{re.escape(said)}"):
        make()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("running_var", np.nan, "running_var has nan; expected 0 or more"),
        ("running_var", -1.0, "running_var has -1.0; expected 0 or more"),
        ("running_mean", np.nan, "running_mean has nan; expected numbers"),
        ("batches_seen", -1, "batches_seen has -1; expected 0 or more"),
    ],
)
def test_statistics_that_no_data_have_are_refused(name, value, said):
    norm = BatchNorm(3)
    before = norm.state_dict()
    state = {**norm.state_dict(), "weight": np.full(3, 7, np.float32)}
    state[name].flat[-1] = value
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        norm.load_state_dict(state)
    for each, array in norm.state_dict().items():
        np.testing.assert_array_equal(array, before[each])


def test_statistics_of_a_data_set_are_statistics_and_finite():
    statistics = DatasetStatistics(2)
    with np.errstate(all="ignore"):
        statistics.update(np.array([[1.0, np.inf], [2.0, 3.0], [3.0, 4.0]]))
    with pytest.raises(ValueError, match=r"^statistics have NaN; expected statistics of finite values"):
        BatchNorm(2).use(statistics)
    with pytest.raises(TypeError, match=r"^statistics is a dict; expected a DatasetStatistics"):
        BatchNorm(2).use({})


def test_a_state_is_loaded_as_a_whole():
    """Own arrays, exchanged, become what the others were; where one can't be written, none is."""
    norm = BatchNorm(3)
    norm.weight[...], norm.bias[...] = 1.0, 2.0
    norm.load_state_dict({**norm.state_dict(), "weight": norm.bias, "bias": norm.weight})
    assert (norm.weight.tolist(), norm.bias.tolist()) == ([2.0] * 3, [1.0] * 3)
    norm.bias.flags.writeable = False
    with pytest.raises(TypeError, match=r"^bias is read-only; expected an array that can be written in place$"):
        norm.load_state_dict(BatchNorm(3).state_dict())
    assert norm.weight.tolist() == [2.0] * 3
