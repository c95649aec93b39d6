"""Optimizers with state: the same bits as the update functions, for models of many tensors; training options."""

from __future__ import annotations

import copy
import inspect
import itertools
import os
import pickle
import re
import threading
import tracemalloc
import warnings

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt import optim
from fastopt.optim.optimizer import OPTIONS
from fastopt.optim.options import OF_A_STEP, SYNONYMS
from tests.optim_cases import CASES, CLASSES, SHAPES, make, zero_state
from tests.support import LAYOUTS, assert_same_bits, bits, cpus, succeeds_in_a_child

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def values(shape, dtype=np.float32, seed=0):
    return np.array(np.random.default_rng([seed, *shape]).standard_normal(shape)).astype(dtype)


def models(shapes=SHAPES, dtype=np.float32, seed=0):
    return [values(shape, dtype, seed) for shape in shapes]


def contents(optimizer, params):
    """All that a step may write, by name."""
    arrays = {f"param {i}": param for i, param in enumerate(params)}
    for name, state in optimizer.state.items() if isinstance(optimizer.state, dict) else enumerate(optimizer.state):
        arrays |= {f"{key} {name}": array for key, array in state.items()}
    return arrays | {"steps": optimizer.steps}


# ---- The same as the functions


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16], ids=lambda d: np.dtype(d).name)
def test_a_model_gets_the_bits_of_the_function(case, dtype):
    params, wanted = models(dtype=dtype), models(dtype=dtype)
    states = [zero_state(case, param) for param in wanted]
    optimizer = make(case, params)
    for step in range(1, 5):
        grads = models(dtype=dtype, seed=step)
        result = optimizer.step(grads)
        assert result[:3] == (step, None, False)
        for param, grad, state in zip(wanted, grads, states, strict=True):
            case.run({"param": param, "grad": grad, **state}, step)
        for i, (param, state) in enumerate(zip(wanted, states, strict=True)):
            assert_same_bits({"param": params[i], **optimizer.state[i]}, {"param": param, **state}, f"step {step}, {i}")
    assert optimizer.steps.tolist() == [4] * len(SHAPES)
    assert optimizer.step_count == 4


@every_case
def test_defaults_are_the_functions(case):
    of_function = inspect.signature(case.update).parameters
    of_class = inspect.signature(CLASSES[case.update.__name__].__init__).parameters
    shared = {name for name in of_class if name in of_function}
    assert shared >= {name for name in of_function if name in case.fixed}
    for name in shared:
        assert of_class[name].default == of_function[name].default, name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"master_weights": True},
        {"ema_decay": 0.5},
        {"master_weights": True, "ema_decay": 0.5},
        {"stochastic_rounding": 1},
        {"master_weights": True, "stochastic_rounding": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [1, -1])
def test_mixed_types_are_computed_each_in_their_own(options, order):
    """A tensor gets what it gets alone; but random rounding, which tells tensors apart by their position."""
    shapes = [(40,), (30, 3), (7,), (8,)]
    dtypes = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16][::order]
    params = [values(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    alone = [param.copy() for param in params]
    grads = [[values(shape, np.float32, seed) for shape in shapes] for seed in (1, 2)]
    together = optim.AdamW(params, **options)
    for each in grads:
        together.step(each)
    for i, (param, dtype) in enumerate(zip(alone, dtypes, strict=True)):
        optimizer = optim.AdamW([param], **options)
        for each in grads:
            optimizer.step([each[i]])
        is_random = "stochastic_rounding" in options and dtype == ml_dtypes.bfloat16
        if not is_random or "master_weights" in options:
            assert_same_bits(together.state[i], optimizer.state[0], str(i))
        if not is_random:
            assert_same_bits({"param": params[i]}, {"param": param}, str(i))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_random_rounding_of_copies_has_the_masters_for_their_mean(layout):
    ulp = 2.0**-7  # of a bfloat16 from 1 to 2
    param = layout(np.full((128, 512), 1.5, ml_dtypes.bfloat16))
    optimizer = optim.SGD([param], lr=1.0, stochastic_rounding=1, master_weights=True)
    optimizer.step([np.full(param.shape, -0.25 * ulp, np.float32)])
    assert np.all(optimizer.state[0]["master"] == 1.5 + 0.25 * ulp)
    # Each element is one ulp higher with probability 1/4: deviation 0.43, and of their mean 2^-8 of it.
    moved = (param.astype(np.float64) - 1.5) / ulp
    assert set(np.unique(moved)) == {0.0, 1.0}
    assert moved.mean() == pytest.approx(0.25, abs=5 * 0.43 / 256)


def test_random_rounding_counts_elements_in_c_order():
    """So that a tensor and its flat view, in which a caller may keep all, are rounded alike."""
    grad = values((30, 4, 50), np.float32)
    params = [np.full(shape, 1.0, ml_dtypes.bfloat16) for shape in ((30, 4, 50), (6000,))]
    for param in params:
        optim.SGD([param], lr=0.01, stochastic_rounding=3).step([grad.reshape(param.shape)])
    assert np.array_equal(bits(params[0]).ravel(), bits(params[1]))


def test_random_rounding_tells_tensors_apart():
    params = [np.full(5000, 1.0, ml_dtypes.bfloat16) for _ in range(2)]
    optim.SGD(params, lr=1.0, stochastic_rounding=3).step([np.full(5000, -1e-3, np.float32)] * 2)
    assert set(np.unique(params[0]).tolist()) == set(np.unique(params[1]).tolist()) == {1.0, 1 + 2.0**-7}
    assert not np.array_equal(params[0], params[1])


@every_case
def test_a_wider_gradient_decides_what_is_computed_in(case):
    """As it does in the function; and the next gradient decides anew."""
    params, wanted = models(), models()
    states = [zero_state(case, param) for param in wanted]
    optimizer = make(case, params)
    for step, dtype in enumerate((np.float64, np.float32, np.float64, np.float16), 1):
        grads = models(dtype=dtype, seed=step)
        optimizer.step(grads, max_norm=1e9)
        for param, grad, state in zip(wanted, grads, states, strict=True):
            case.run({"param": param, "grad": grad, **state}, step)
    for i, (param, state) in enumerate(zip(wanted, states, strict=True)):
        assert_same_bits({"param": params[i], **optimizer.state[i]}, {"param": param, **state}, str(i))


def test_the_next_gradient_may_be_of_another_type_in_the_same_place():
    """As where a buffer is used again: nothing but its dtype tells."""
    memory = np.zeros(40, np.float64)
    params, wanted = [values((40,))], values((40,))
    optimizer = optim.SGD(params, lr=0.5)
    for step, dtype in enumerate([np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.float32, np.float16] * 2):
        grad = memory.view(dtype)[:40]
        grad[...] = values((40,), dtype, step)
        optimizer.step([grad])
        fastopt.sgd(wanted, grad.copy(), lr=0.5)
        assert np.array_equal(bits(params[0]), bits(wanted)), dtype


# ---- Parameters, groups, names


def test_groups_have_hyperparameters_of_their_own():
    a, b, c = models([(5,), (6,), (7,)])
    wanted = [a.copy(), b.copy(), c.copy()]
    optimizer = optim.SGD([{"params": [a, b], "lr": 0.5}, {"params": [c], "weight_decay": 0.1}], lr=0.25)
    grads = models([(5,), (6,), (7,)], seed=1)
    optimizer.step(grads)
    optimizer.groups[1].lr = 1.0
    optimizer.step(grads)
    for lrs, param, grad, decay in zip([(0.5, 0.5)] * 2 + [(0.25, 1.0)], wanted, grads, (0, 0, 0.1), strict=True):
        for lr in lrs:
            fastopt.sgd(param, grad, lr=lr, weight_decay=decay)
    assert_same_bits(dict(enumerate([a, b, c])), dict(enumerate(wanted)))


@every_case
def test_a_group_has_the_hyperparameters_of_its_class(case):
    """And no more, after steps either."""
    params = models([(5,)])
    optimizer = make(case, params)
    of_class = set(inspect.signature(CLASSES[case.update.__name__].__init__).parameters) - {"self", "params", "options"}
    for step in range(3):
        assert set(optimizer.groups[0].hyperparameters) == of_class
        assert set(optimizer.state_dict()["groups"][0]["hyperparameters"]) == of_class
        optimizer.step(models([(5,)], seed=step))


def test_names_go_through_params_grads_and_state():
    params = {"weight": values((3, 2)), "bias": values((2,))}
    optimizer = optim.Momentum(params, lr=0.1)
    grads = {"bias": values((2,), seed=1), "weight": values((3, 2), seed=1)}
    optimizer.step(grads)
    assert np.array_equal(optimizer.state["bias"]["velocity"], grads["bias"])
    assert optimizer.groups[0].names == ["weight", "bias"]
    with pytest.raises(ValueError, match="grads lacks 'bias'"):
        optimizer.step({"weight": grads["weight"]})
    with pytest.raises(ValueError, match="grads has 'gain', which is not a parameter"):
        optimizer.step({**grads, "gain": grads["bias"]})


def test_a_gradient_of_none_leaves_its_tensor_and_its_count():
    params, wanted = models([(40,), (50,)]), models([(40,), (50,)])
    states = [[np.zeros_like(p), np.zeros_like(p)] for p in wanted]
    counts = [0, 0]
    optimizer = optim.Adam(params)
    for step in range(6):
        grads = models([(40,), (50,)], seed=step)
        given = [grads[0], None] if step in (1, 2) else [None, grads[1]] if step == 4 else grads
        optimizer.step(given)
        for i, grad in enumerate(given):
            if grad is not None:
                counts[i] += 1
                fastopt.adam(wanted[i], grad, *states[i], step=counts[i])
    assert optimizer.steps.tolist() == counts == [5, 4]
    assert_same_bits(dict(enumerate(params)), dict(enumerate(wanted)))
    assert optimizer.step([None, None]).step == 7


def test_lr_may_be_a_function_of_the_step():
    params, wanted = models([(40,)]), models([(40,)])
    optimizer = optim.SGD(params, lr=lambda step: 0.5 / step)
    for step in (1, 2, 3):
        optimizer.step(models([(40,)], seed=step))
        fastopt.sgd(wanted[0], values((40,), seed=step), lr=0.5 / step)
    assert np.array_equal(params[0], wanted[0])


def test_grad_scale_goes_to_every_tensor():
    params, wanted = models(), models()
    optimizer = optim.Momentum(params, lr=0.1)
    optimizer.step(models(seed=1), grad_scale=-0.125)
    for param, grad in zip(wanted, models(seed=1), strict=True):
        fastopt.momentum(param, grad, np.zeros_like(param), lr=0.1, grad_scale=-0.125)
    assert_same_bits(dict(enumerate(params)), dict(enumerate(wanted)))


def test_foreign_arrays_are_parameters_too():
    import array

    buffer = array.array("f", [1.0, 2.0])
    optimizer = optim.SGD([memoryview(buffer)], lr=1.0)
    optimizer.step([array.array("f", [0.5, -0.5])])
    assert buffer.tolist() == [0.5, 2.5]


# ---- Norms, clipping, skipping


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_norm_is_that_of_float64(dtype):
    shapes = [(300, 701), (70000,), (131072,), (1,), (0,), (3, 5)]
    grads = models(shapes, dtype, 3)
    optimizer = optim.SGD(models(shapes, dtype), lr=0.1)
    got = optimizer.step(grads, grad_scale=-3.0, max_norm=1e9).grad_norm
    wanted = 3.0 * np.sqrt(np.sum([np.sum(np.square(grad.astype(np.longdouble))) for grad in grads]))
    assert abs(got - wanted) <= 1e-14 * wanted


def test_the_norm_has_the_same_bits_for_every_layout_and_thread():
    shapes = [(300, 701), (7, 11, 130), (70000,)]
    optimizer = optim.SGD(models(shapes), lr=0.0)
    norms = set()
    with cpus(7):
        for threads in (1, 2, 7):
            for layout in LAYOUTS:
                optimizer.num_threads = threads
                norms.add(optimizer.step([layout(grad) for grad in models(shapes, seed=1)], max_norm=1.0).grad_norm)
    assert len(norms) == 1


@pytest.mark.parametrize("size", [1e-250, 1e-160, 1e160, 1e250])
def test_norms_do_not_leave_the_range_of_float64(size):
    param = np.zeros(2)
    result = optim.SGD([param], lr=1.0).step([np.array([3.0, 4.0]) * size], max_norm=size)
    assert result.grad_norm == pytest.approx(5 * size, rel=1e-14)
    assert param == pytest.approx(np.array([-0.6, -0.8]) * size, rel=1e-14)


@pytest.mark.parametrize("sizes", list(itertools.permutations([1e-250, 1e-150, 1.0, 1e160])), ids=str)
def test_a_norm_of_tensors_far_apart_is_that_of_the_largest(sizes):
    """In whichever order they are added up; and of two that are alike, of both."""
    for left_out in (None, 1e160, 1.0, 1e-150):
        grads = [np.array([3.0, 4.0]) * size for size in sizes if size != left_out]
        grads += [grad.copy() for grad in grads]
        result = optim.SGD([np.zeros(2) for _ in grads], lr=0.0).step(grads, max_norm=1e200)
        assert result.grad_norm == pytest.approx(5 * np.sqrt(2) * max(each.max() for each in grads) / 4, rel=1e-14)


def test_norms_of_tensors_far_apart_are_all_exact():
    params = [np.zeros(3), np.zeros(70_000)]
    grads = [np.full(3, 1e150), np.full(70_000, 1e-150)]
    optim.SGD(params, lr=1.0).step(grads, max_tensor_norm=1e-155)
    for param in params:
        assert np.linalg.norm(param / 1e-155) == pytest.approx(1, rel=1e-12)


def test_a_factor_that_vanishes_is_refused():
    optimizer = optim.SGD([np.zeros(3)], lr=1.0)
    with pytest.raises(ValueError, match=r"grad_scale is .* underflows to 0 in float64"):
        optimizer.step([np.full(3, 1e200)], max_norm=1e-200)


def test_large_finite_gradients_are_not_skipped():
    param = np.zeros(4)
    result = optim.SGD([param], lr=1e-300).step([np.full(4, 1.7e308)], skip_nonfinite=True)
    assert not result.skipped
    assert param == pytest.approx(np.full(4, -1.7e8))


def test_clipping_scales_all_gradients_alike_and_writes_none():
    params, wanted, grads = models(), models(), models(seed=1)
    before = [grad.copy() for grad in grads]
    result = optim.AdamW(params).step(grads, max_norm=0.5)
    factor = 0.5 / result.grad_norm
    for param, grad in zip(wanted, grads, strict=True):
        fastopt.adamw(param, grad, np.zeros_like(param), np.zeros_like(param), step=1, grad_scale=factor)
    assert_same_bits(dict(enumerate(params)), dict(enumerate(wanted)))
    assert_same_bits(dict(enumerate(grads)), dict(enumerate(before)))


def test_a_norm_below_the_limit_changes_nothing():
    params, wanted = models(), models()
    optim.SGD(params, lr=0.1).step(models(seed=1), max_norm=1e6)
    optim.SGD(wanted, lr=0.1).step(models(seed=1))
    assert_same_bits(dict(enumerate(params)), dict(enumerate(wanted)))


def test_each_gradient_can_be_clipped_by_its_own_norm():
    params, wanted, grads = models(), models(), models(seed=1)
    optimizer = optim.SGD(params, lr=0.1)
    for _ in range(2):  # the second step finds the scalars of the first
        optimizer.step(grads, max_tensor_norm=3.0)
    optimizer.step(grads)
    for param, grad in zip(wanted, grads, strict=True):
        norm = np.sqrt(np.sum(np.square(grad.astype(np.float64))))
        for scale in [3.0 / norm if norm > 3.0 else 1.0] * 2 + [1.0]:
            fastopt.sgd(param, grad, lr=0.1, grad_scale=scale)
    for param, other in zip(params, wanted, strict=True):
        np.testing.assert_allclose(param, other, rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("grad_scale", [1.0, 0.25, -4.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_a_limit_for_all_gradients_and_one_for_each(dtype, grad_scale):
    """All are scaled by the first limit, and of these each by the second."""
    params, grads = models(dtype=dtype), models(dtype=dtype, seed=1)
    wanted = [param.astype(np.float64) for param in params]
    wide = [grad_scale * grad.astype(np.float64) for grad in grads]
    total = np.sqrt(sum(np.sum(grad**2) for grad in wide))
    max_norm = 0.5 * total
    each = [0.5 * np.linalg.norm(grad) for grad in wide]
    max_tensor_norm = 0.5 * max(each)  # above some of them, and below others
    assert min(norm for norm in each if norm) < max_tensor_norm
    optimizer = optim.SGD(params, lr=0.1)
    for _ in range(2):
        result = optimizer.step(grads, grad_scale=grad_scale, max_norm=max_norm, max_tensor_norm=max_tensor_norm)
        assert result.grad_norm == pytest.approx(total, rel=1e-6)
        for param, grad, norm in zip(wanted, wide, each, strict=True):
            param -= 0.1 * 0.5 * grad * (max_tensor_norm / norm if norm > max_tensor_norm else 1.0)
    for param, other in zip(params, wanted, strict=True):
        np.testing.assert_allclose(param, other, rtol=3e-7, atol=3e-7 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("large", [0.0, 1e-150, 1e-148, 1e-145, 1e-140, 1e-139, 1e-130])
@pytest.mark.parametrize("small", [1e-154, 1e-158, 3e-147, 1e-140])
def test_norms_of_many_values_whose_squares_are_subnormal(small, large):
    grad = np.full(10_001, small)
    grad[17] = large or small
    result = optim.SGD([np.zeros(10_001)], lr=1.0).step([grad], skip_nonfinite=True)
    assert result.grad_norm == pytest.approx(1e-150 * np.linalg.norm(grad * 1e150), rel=1e-13, abs=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 5), (5, 2499)])
def test_a_skipped_step_leaves_every_bit_and_says_so(bad, where):
    params = models()
    optimizer = optim.AdamW(params, ema_decay=0.5)
    optimizer.step(models(seed=1))
    before = {name: array.copy() for name, array in contents(optimizer, params).items()}
    grads = models(seed=2)
    grads[where[0]].flat[where[1]] = bad
    result = optimizer.step(grads, skip_nonfinite=True)
    assert result.skipped
    assert result.step == optimizer.step_count == 1
    assert not np.isfinite(result.grad_norm)
    assert_same_bits(contents(optimizer, params), before)
    with pytest.raises(ValueError, match=r"norm of the gradients is .*skip_nonfinite=True"):
        optimizer.step(grads, max_norm=1.0)
    assert_same_bits(contents(optimizer, params), before)
    assert not optimizer.step(models(seed=2), skip_nonfinite=True).skipped


# ---- Mixed precision, averages, random rounding


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_masters_are_updated_and_parameters_are_their_roundings(dtype, layout):
    params = [layout(param) for param in models(dtype=dtype)]
    masters = [param.astype(np.float32) for param in params]
    states = [[np.zeros_like(master), np.zeros_like(master)] for master in masters]
    optimizer = optim.AdamW(params, master_weights=True)
    for step in (1, 2, 3):
        grads = models(dtype=dtype, seed=step)
        optimizer.step(grads)
        for i, grad in enumerate(grads):
            fastopt.adamw(masters[i], grad, *states[i], step=step)
            assert np.array_equal(bits(optimizer.state[i]["master"]), bits(masters[i]))
            assert np.array_equal(bits(params[i]), bits(masters[i].astype(dtype)))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_masters_with_an_average_and_gradients_of_float64_near_ties(layout, dtype):
    """The parameter is the rounding of the master as it is stored, to float32, and not of the average."""
    ulp = float(ml_dtypes.finfo(dtype).eps)
    param = layout(np.full((6, 50), 1.0, dtype))
    optimizer = optim.SGD([param], lr=1.0, master_weights=True, ema_decay=0.75)
    rng = np.random.default_rng(1)
    average = np.ones((6, 50))
    for _ in range(3):
        # From a tie of 16 bits, some go by less than float32 can tell: there the tie decides.
        nudge = rng.choice([-(2.0**-20), -(2.0**-40), 0.0, 2.0**-40, 2.0**-20], (6, 50))
        tie = 1 + ulp * (rng.integers(0, 8, (6, 50)) + 0.5) + nudge
        before = np.asarray(optimizer.state[0]["master"], np.float64)
        optimizer.step([before - tie])
        master = tie.astype(np.float32)
        average = 0.75 * average + 0.25 * master
        assert np.array_equal(optimizer.state[0]["master"], master)
        assert np.array_equal(bits(param), bits(master.astype(dtype)))
        np.testing.assert_allclose(optimizer.state[0]["ema"], average, rtol=2e-7)


def test_parameters_of_float32_need_no_masters():
    assert list(optim.SGD(models(), lr=0.1, master_weights=True).state[0]) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16], ids=lambda d: np.dtype(d).name)
def test_the_average_follows_the_parameters(dtype):
    params = models(dtype=dtype)
    wide = np.float64 if dtype == np.float64 else np.float32
    wanted = [param.astype(wide) for param in params]
    optimizer = optim.SGD(params, lr=0.1, ema_decay=0.75)
    assert_same_bits(
        {str(i): state["ema"] for i, state in enumerate(optimizer.state)},
        {str(i): average for i, average in enumerate(wanted)},
    )
    for step in (1, 2, 3):
        before = [param.astype(wide) for param in params]
        grads = models(seed=step)
        optimizer.step(grads)
        for i, grad in enumerate(grads):
            moved = before[i] - wide(0.1) * grad  # not rounded to 16 bits
            wanted[i] = wide(0.75) * wanted[i] + wide(0.25) * moved
            np.testing.assert_allclose(optimizer.state[i]["ema"], wanted[i], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16], ids=lambda d: np.dtype(d).name
)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_average_of_a_parameter_in_any_layout(layout, dtype):
    """It has the same bits, and the memory order of the parameter, as other state has."""
    params = [layout(values((40, 30), dtype)), values((40, 30), dtype)]
    optimizer = optim.Adam(params, lr=0.1, ema_decay=0.75)
    one, other = (state["ema"] for state in optimizer.state)
    for step in (1, 2, 3):
        grad = values((40, 30), np.float32, step)
        optimizer.step([grad, grad])
    assert_same_bits({"param": params[0], "ema": one}, {"param": params[1], "ema": other})
    assert one.strides == optimizer.state[0]["m"].strides


def test_state_may_be_bfloat16():
    params, wanted = models(), models()
    states = [[np.zeros(p.shape, ml_dtypes.bfloat16) for _ in range(2)] for p in wanted]
    optimizer = optim.Adam(params, state_dtype=ml_dtypes.bfloat16)
    for step in (1, 2):
        grads = models(seed=step)
        optimizer.step(grads)
        for param, grad, state in zip(wanted, grads, states, strict=True):
            fastopt.adam(param, grad, *state, step=step)
    assert_same_bits(dict(enumerate(params)), dict(enumerate(wanted)))
    assert optimizer.state[0]["m"].dtype == ml_dtypes.bfloat16


def test_random_rounding_moves_the_mean_as_it_should():
    ulp = 2.0**-7  # of a bfloat16 from 1 to 2
    param = np.full(1 << 16, 1.5, ml_dtypes.bfloat16)
    optimizer = optim.SGD([param], lr=1.0, stochastic_rounding=1)
    grad = np.full(1 << 16, -ulp * 2.0**-10, np.float32)
    for _ in range(1000):
        optimizer.step([grad])
    moved = (param.astype(np.float64).mean() - 1.5) / ulp
    # Each element moves by a sum of 1,000 draws with probability 2^-10: deviation 1, and of their mean 2^-8.
    assert moved == pytest.approx(1000 / 1024, abs=5 / 256)
    plain = np.full(4, 1.5, ml_dtypes.bfloat16)
    optim.SGD([plain], lr=1.0).step([grad[:4]])
    assert np.all(plain == 1.5)


def test_random_rounding_has_the_same_bits_for_threads_and_layouts_and_other_ones_for_seeds():
    def run(layout, threads, seed):
        params = [layout(np.full(shape, 1.0, ml_dtypes.bfloat16)) for shape in [(270, 290), (3, 5, 700), (11,)]]
        optimizer = optim.SGD(params, lr=1.0, stochastic_rounding=seed, num_threads=threads)
        with cpus(3):
            for step in range(5):
                optimizer.step([0.01 * values(param.shape, seed=step) for param in params])
        return b"".join(np.ascontiguousarray(param).tobytes() for param in params)

    wanted = run(LAYOUTS[0], 1, 3)
    assert all(run(layout, threads, 3) == wanted for layout in LAYOUTS for threads in (1, 3))
    assert run(LAYOUTS[0], 1, 4) != wanted


def test_random_rounding_of_a_tensor_counts_its_own_updates():
    def run(skips):
        params = [np.full(5000, 1.0, ml_dtypes.bfloat16) for _ in range(2)]
        optimizer = optim.SGD(params, lr=1.0, stochastic_rounding=3)
        grad, moves = np.full(5000, -1e-3, np.float32), []
        for skip in skips:
            before = params[0].copy()
            optimizer.step([grad, None if skip else grad])
            moves.append(params[0] != before)
        return moves

    together, apart = run([False, False]), run([True, False])
    assert np.array_equal(together, apart)
    assert not np.array_equal(apart[0], apart[1])


def test_random_rounding_is_of_the_copy_where_there_are_masters_and_keeps_what_is_not_finite():
    param = np.array([1.0, np.inf, -np.inf, np.nan], ml_dtypes.bfloat16)
    optimizer = optim.SGD([param], lr=1.0, stochastic_rounding=1, master_weights=True)
    optimizer.step([np.array([1e-3, 0.0, 0.0, 0.0], np.float32)])
    assert optimizer.state[0]["master"][0] == np.float32(1.0) - np.float32(1e-3)
    assert float(param[0]) in (1.0, 1.0 - 2.0**-8)
    assert param[1] == np.inf
    assert param[2] == -np.inf
    assert np.isnan(param[3])


# ---- Bad input


def raises(error, match, call, *arrays):
    before = [array.copy() for array in arrays]
    with pytest.raises(error, match=match):
        call()
    for array, kept in zip(arrays, before, strict=True):
        assert np.array_equal(bits(array), bits(kept))


BAD_GRADS = {
    "too few": (lambda g: g[:-1], ValueError, "5 gradients given; expected 6, one for each parameter"),
    "too many": (lambda g: [*g, g[0]], ValueError, "7 gradients given; expected 6"),
    "another shape": (lambda g: [*g[:5], g[5][:-1]], ValueError, r"grad of params\[5\] has shape \(2499,\); expected"),
    "a list": (lambda g: [*g[:5], g[5].tolist()], TypeError, r"grad of params\[5\] is a list"),
    "integers": (lambda g: [*g[:5], g[5].astype("i4")], TypeError, r"grad of params\[5\] has dtype int32"),
    "one array": (lambda g: g[0], TypeError, "grads is a ndarray; expected a list"),
    "a dict": (lambda g: dict(enumerate(g[1:])), ValueError, "grads lacks 5"),
}


@pytest.mark.parametrize("bad", BAD_GRADS)
def test_bad_gradients_are_named_and_nothing_is_written(bad):
    make_bad, error, match = BAD_GRADS[bad]
    params, grads = models(), models(seed=1)
    optimizer = optim.AdamW(params, ema_decay=0.5)
    everything = contents(optimizer, params)
    raises(error, match, lambda: optimizer.step(make_bad(grads)), *everything.values())


def test_gradients_must_not_share_memory_with_what_is_written():
    memory = values((100,))
    params = [memory[:40], memory[60:]]
    optimizer = optim.Momentum(params, lr=0.1)
    for grad, of in ((memory[20:60], 0), (memory[59:99], 1), (optimizer.state[1]["velocity"], 1)):
        name = rf"grad of params\[0\] overlaps .*params\[{of}\] in memory"
        raises(ValueError, name, lambda grad=grad: optimizer.step([grad, params[1].copy()]), memory)
    interleaved = values((40, 3))
    optimizer = optim.SGD([interleaved[:, 0], interleaved[:, 1]], lr=0.1)
    optimizer.step([interleaved[:, 2], values((40,))])
    raises(ValueError, "overlaps", lambda: optimizer.step([interleaved[:, 2], interleaved[:, 0]]), interleaved)


def test_duplicated_and_aliased_parameters_are_refused():
    a, b = models([(10,), (10,)])
    with pytest.raises(ValueError, match=r"params\[2\] overlaps params\[0\] in memory"):
        optim.SGD([a, b, a], lr=0.1)
    with pytest.raises(ValueError, match=r"params\['y'\] overlaps params\['x'\]"):
        optim.SGD({"x": a[:6], "y": a[5:]}, lr=0.1)


@pytest.mark.parametrize(
    ("make_optimizer", "error", "match"),
    [
        (lambda p: optim.SGD(p, lr=-0.1), ValueError, "lr is -0.1; expected a finite number, 0 or more"),
        (lambda p: optim.SGD(p, lr=np.nan), ValueError, "lr is nan"),
        (lambda p: optim.Adam(p, beta1=1.0), ValueError, "beta1 is 1.0"),
        (lambda p: optim.Adam(p, betas=(0.9, 0.99)), TypeError, "betas"),
        (lambda p: optim.SGD([{"params": p, "lr": -1.0}], lr=0.1), ValueError, "lr is -1.0"),
        (lambda p: optim.SGD([{"params": p, "beta": 1.0}], lr=0.1), TypeError, "a group has beta; expected params and"),
        (lambda p: optim.SGD(p[0], lr=0.1), TypeError, "params is a ndarray; expected a list or a dict of arrays"),
        (lambda p: optim.SGD([[1.0]], lr=0.1), TypeError, r"params\[0\] is a list"),
        (lambda p: optim.SGD([{"params": p[:1]}, p[1]], lr=0.1), TypeError, r"params\[0\] is a dict"),
        (lambda p: optim.SGD([p[1], {"params": p[:1]}], lr=0.1), TypeError, r"params\[1\] is a dict"),
        (lambda p: optim.SGD([p[0].astype(int)], lr=0.1), TypeError, r"params\[0\] has dtype int64"),
        (lambda p: optim.SGD([np.broadcast_to(p[0], (2, 33, 70))], lr=0.1), TypeError, r"params\[0\] is read-only"),
        (lambda p: optim.SGD({1: p[0]}, lr=0.1), TypeError, "params has the name 1, a int"),
        (lambda p: optim.Rprop(p, lr=np.nan), ValueError, "lr is nan"),
        (lambda p: optim.Rprop(p, lr=lambda step: 0.1), TypeError, "lr is <function"),
        (lambda p: optim.SGD(p, lr=0.1, ema_decay=2.0), ValueError, "decay is 2.0"),
        (lambda p: optim.SGD(p, lr=0.1, stochastic_rounding=-1), ValueError, "stochastic_rounding is -1; expected"),
        (lambda p: optim.SGD(p, lr=0.1, backend="magic"), ValueError, "backend is 'magic'"),
        (lambda p: optim.LARS(p, lr=0.1, trust_coefficient=-1.0), ValueError, "trust_coefficient is -1.0"),
    ],
)  # fmt: skip
def test_bad_hyperparameters_and_parameters_are_named(make_optimizer, error, match):
    with pytest.raises(error, match=match):
        make_optimizer(models())


def test_bad_arguments_of_a_step_are_named_and_nothing_is_written():
    params = models()
    optimizer = optim.LAMB(params)
    everything = contents(optimizer, params).values()
    for options, match in (
        ({"max_norm": 0.0}, "max_norm is 0.0; expected a number above 0, or infinity"),
        ({"max_norm": np.nan}, "max_norm is nan"),
        ({"max_tensor_norm": 1.0}, "max_tensor_norm is 1.0; expected None"),
        ({"grad_scale": np.inf}, "grad_scale is inf"),
        ({"max_norm": 1e-300}, "grad_scale is .* underflows to 0 in float32"),
    ):
        raises(ValueError, match, lambda options=options: optimizer.step(models(seed=1), **options), *everything)
    for options, match in (
        ({"max_norm": -1.0}, "max_norm is -1.0; expected a number above 0"),
        ({"max_tensor_norm": 0.0}, "max_tensor_norm is 0.0; expected a number above 0"),
        ({"max_tensor_norm": np.nan}, "max_tensor_norm is nan"),
        ({"grad_scale": np.nan}, "grad_scale is nan"),
    ):
        plain = optim.SGD(models(), lr=0.1)
        for grads in (models(seed=1), [None] * len(SHAPES)):  # though no gradient asks for it
            with pytest.raises(ValueError, match=match):
                plain.step(grads, **options)
        assert plain.step_count == 0
    optimizer.groups[0].lr = np.nan
    raises(ValueError, "lr is nan", lambda: optimizer.step(models(seed=1)), *everything)
    for name in ("rate", "params", "names", "step", "grad_scale", "mu_product"):
        with pytest.raises(AttributeError, match=f"{name}|the parameters of a group can't be replaced"):
            setattr(optimizer.groups[0], name, 1.0)


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_a_parameter_that_has_become_read_only_or_moved_is_refused():
    params = models()
    optimizer = optim.SGD(params, lr=0.1)
    params[1].flags.writeable = False
    raises(TypeError, r"params\[1\] is read-only", lambda: optimizer.step(models(seed=1)), *params)
    params[1].flags.writeable = True
    optimizer.step(models(seed=1))
    with pytest.raises(ValueError, match="cannot resize an array that references or is referenced"):
        params[5].resize(10_000, refcheck=False)
    params[5].shape = (50, 50)
    raises(ValueError, r"params\[5\] has been moved in memory", lambda: optimizer.step(models(seed=1)), *params)


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_masters_parameters_that_shrink_and_memmaps_are_looked_at_too(tmp_path):
    param = np.ones(40, ml_dtypes.bfloat16)
    optimizer = optim.SGD([param], lr=0.1, master_weights=True)
    param.flags.writeable = False
    raises(TypeError, r"params\[0\] is read-only", lambda: optimizer.step([np.ones(40, np.float32)]), param)
    turned = np.ones((50, 60), np.float32)
    optimizer = optim.SGD([turned], lr=0.1)
    turned.shape = (60, 50)
    with pytest.raises(ValueError, match="has been moved"):
        optimizer.step([np.ones((50, 60), np.float32)])
    mapped = np.memmap(tmp_path / "param", np.float32, "w+", shape=(50,))
    optimizer = optim.SGD([mapped], lr=0.5)
    optimizer.step([np.ones(50, np.float32)])
    assert np.all(mapped == -0.5)
    mapped.flags.writeable = False
    raises(TypeError, "read-only", lambda: optimizer.step([np.ones(50, np.float32)]), mapped)


def test_state_that_the_hyperparameters_ask_for_later_is_refused():
    params = models()
    optimizer = optim.RMSprop(params, centered=True)
    optimizer.step(models(seed=1))
    optimizer.groups[0].centered, optimizer.groups[0].momentum = False, 0.9
    everything = contents(optimizer, params).values()
    match = "require the state square_avg, velocity; expected those .* whose state is square_avg, grad_avg"
    raises(ValueError, match, lambda: optimizer.step(models(seed=1)), *everything)


def test_counts_that_no_step_can_follow_are_refused():
    params = models()
    optimizer = optim.SGD(params, lr=0.1)
    for count in (-1, 2**63 - 1):
        optimizer.steps[3] = count
        raises(ValueError, rf"steps of params\[3\] is {count}", lambda: optimizer.step(models(seed=1)), *params)
    with pytest.raises(ValueError, match="own"):
        optimizer.steps.resize(2)


def test_state_and_optimizers_are_not_replaced_or_copied():
    optimizer = optim.Momentum(models(), lr=0.1)
    with pytest.raises(TypeError, match="the state can't be replaced: write into the arrays"):
        optimizer.state[0]["velocity"] = np.zeros((33, 70), np.float32)
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="Momentum can't be copied or pickled"):
            copied(optimizer)


def test_an_error_in_the_middle_leaves_the_next_step_right():
    params, wanted = models(), models()
    optimizer, other = optim.AdamW(params), optim.AdamW(wanted)
    good = models(seed=1)
    optimizer.step(good)
    other.step(good)
    moved = models(seed=2)
    with pytest.raises(ValueError, match="has shape"):
        optimizer.step([*moved[:5], moved[5][:3]])
    optimizer.step(good)
    other.step(good)
    assert_same_bits(dict(enumerate(params)), dict(enumerate(wanted)))


def test_an_error_between_groups_leaves_the_next_step_right():
    """Lr is asked for after gradients were looked up: what was planned by then must not run later."""
    failing = []

    def lr(step):
        if failing:
            raise RuntimeError("no lr")
        return 0.5

    params = [np.zeros(40, np.float32) for _ in range(4)]
    optimizer = optim.SGD([{"params": params[:2]}, {"params": params[2:], "lr": lr}], lr=0.5)
    grads = [np.ones(40, np.float32) for _ in range(4)]
    optimizer.step(grads)
    for pattern in ([0, None, 0, 0], [None, 0, 0, None], [0, 0, 0, 0], [None, None, None, 0]):
        given = [None if missing is None else grads[i].copy() for i, missing in enumerate(pattern)]
        failing.append(1)
        with pytest.raises(RuntimeError, match="no lr"):
            optimizer.step(given)
        failing.clear()
        optimizer.step(given)
        for param, count in zip(params, optimizer.steps, strict=True):
            assert np.all(param == -0.5 * count)
    assert optimizer.steps.tolist() == [3, 3, 4, 4]


def test_a_step_within_a_step_is_refused():
    optimizer = optim.SGD(models(), lr=lambda step: optimizer.step(models(seed=1)) and 0.1 if step > 1 else 0.1)
    optimizer.step(models(seed=1))
    with pytest.raises(RuntimeError, match="step was called during step"):
        optimizer.step(models(seed=1))


# ---- Memory and threads


def test_a_step_allocates_little():
    params = [np.ones(64, np.float32) for _ in range(2000)]
    grads = [np.ones(64, np.float32) for _ in range(2000)]
    optimizer = optim.AdamW(params)
    for _ in range(2):
        optimizer.step(grads, max_norm=1.0)
    tracemalloc.start()
    try:
        optimizer.step(grads, max_norm=1.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 10


def test_a_child_of_fork_steps_whatever_another_thread_was_at():
    params = [np.ones((1000, 1000), np.float32)]
    grads = [np.ones((1000, 1000), np.float32)]
    optimizer = optim.Adam(params)
    stop = threading.Event()

    def steps():
        while not stop.is_set():
            optimizer.step(grads)

    thread = threading.Thread(target=steps)
    thread.start()
    try:
        for _ in range(10):
            assert succeeds_in_a_child(lambda: optimizer.step(grads))
    finally:
        stop.set()
        thread.join()


def test_a_child_of_fork_steps_though_another_thread_is_in_the_middle_of_a_step():
    """As it does in a child of that child, and in the process itself, once that step is over."""
    inside, leave = threading.Event(), threading.Event()

    def lr(step):
        if threading.current_thread().name == "in the middle":
            inside.set()
            assert leave.wait(60)
        return 0.5

    params, grads = [np.zeros(3, np.float32)], [np.ones(3, np.float32)]
    optimizer = optim.SGD(params, lr=lr)
    thread = threading.Thread(target=optimizer.step, args=(grads,), name="in the middle")

    def step_in_a_child_too(generations):
        optimizer.step(grads)
        assert optimizer.step_count == optimizer.steps[0] == 3 - generations
        assert np.all(params[0] == -0.5 * (3 - generations))
        optimizer.load_state_dict(optimizer.state_dict())
        assert generations == 1 or succeeds_in_a_child(lambda: step_in_a_child_too(generations - 1))

    thread.start()
    try:
        assert inside.wait(60)
        assert succeeds_in_a_child(lambda: step_in_a_child_too(2))
        with pytest.raises(RuntimeError, match="step was called during step"):
            optimizer.step(grads)
    finally:
        leave.set()
        thread.join()
    optimizer.step(grads)
    assert optimizer.steps.tolist() == [2]
    assert np.all(params[0] == -1.0)


def test_a_fork_in_the_middle_of_a_step_of_its_own_thread():
    """Both processes finish it, and make the next."""
    forked = []

    def lr(step):
        if step == 2:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                forked.append(os.fork())
        return 0.5

    params, grads = [np.zeros(3, np.float32)], [np.ones(3, np.float32)]
    optimizer = optim.SGD(params, lr=lr)
    code = 1
    try:
        for _ in range(3):
            optimizer.step(grads)
        assert np.all(params[0] == -1.5)
        code = 0
    finally:
        if forked == [0]:
            os._exit(code)
    assert os.waitpid(forked[0], 0)[1] == 0


def test_a_nan_reaches_its_own_element_only():
    params, wanted = models(), models()
    grads = models(seed=1)
    optim.Adam(wanted).step(grads)
    grads[5][7] = np.nan
    optim.Adam(params).step(grads)
    assert np.isnan(params[5][7])
    params[5][7] = wanted[5][7]
    assert_same_bits(dict(enumerate(params)), dict(enumerate(wanted)))


@pytest.mark.parametrize(
    ("kind", "option", "said"),
    [
        (optim.AdamW, "betas", "AdamW takes beta1 and beta2, not betas"),
        (optim.Adan, "betas", "Adan takes beta1, beta2 and beta3, not betas"),
        (optim.Adam, "learning_rate", "Adam takes lr, not learning_rate"),
        (optim.Adam, "epsilon", "Adam takes eps, not epsilon"),
        (optim.Lion, "b1", "Lion takes beta1, not b1"),
        (optim.Yogi, "beta_2", "Yogi takes beta2, not beta_2"),
        (optim.RMSprop, "alpha", "RMSprop takes decay, not alpha"),
        (optim.Adadelta, "rho", "Adadelta takes decay, not rho"),
        (optim.Adam, "decay", "Adam takes weight_decay, not decay"),
        (optim.Rprop, "etas", "Rprop takes eta_minus and eta_plus, not etas"),
        (optim.Rprop, "step_sizes", "Rprop takes step_min and step_max, not step_sizes"),
        (optim.LARS, "trust_coeff", "LARS takes trust_coefficient, not trust_coeff"),
        (optim.SGD, "use_ema", "SGD takes ema_decay, not use_ema"),
        (optim.Adam, "max_norm", "Adam takes no max_norm; expected max_norm in step(grads, ...)"),
        (optim.Adam, "clipnorm", "Adam takes no clipnorm; expected max_tensor_norm in step(grads, ...)"),
        (optim.Adam, "maximize", "Adam takes no maximize; expected grad_scale in step(grads, ...)"),
        (
            optim.SGD,
            "momentum",
            "SGD takes no momentum; expected lr, weight_decay, state_dtype, master_weights, stochastic_rounding, "
            "ema_decay, backend, num_threads",
        ),
        (optim.SGD, "betas", "SGD takes no betas; expected lr, weight_decay, state_dtype"),
    ],
)
def test_an_option_of_another_library_is_told_by_its_name_here(kind, option, said):
    with pytest.raises(TypeError, match=f"^{re.escape(said)}"):
        kind([np.zeros(2)], **({"lr": 0.1} if kind in (optim.SGD, optim.LARS) else {}), **{option: 0.5})


def test_every_option_of_an_optimizer_is_known():
    """The list that is told of is the signature's; and no synonym is the name of an option that all have."""
    signature = inspect.signature(optim.Optimizer).parameters
    assert set(OPTIONS) == {name for name in signature if name not in ("params", "hyperparameters", "unknown")}
    assert not {*SYNONYMS, *OF_A_STEP} & set(OPTIONS)
    of_step = inspect.signature(optim.Optimizer.step).parameters
    assert set(OF_A_STEP.values()) <= set(of_step)
    kinds = [*CLASSES.values(), optim.LARS, optim.LAMB]
    known = {name for kind in kinds for name in inspect.signature(kind).parameters} | set(OPTIONS)
    assert {each for names in SYNONYMS.values() for each in names} <= known


def test_flags_of_groups_are_flags():
    params = [{"params": [np.zeros(2)], "amsgrad": "False"}]
    with pytest.raises(TypeError, match=r"^amsgrad is 'False', a str; expected True or False$"):
        optim.Adam(params)
    group = optim.Adam([np.zeros(2)], amsgrad=np.True_).groups[0]
    assert group.amsgrad is True
    with pytest.raises(TypeError, match=r"^amsgrad is 0, a int; expected True or False$"):
        group.amsgrad = 0
    group.bias_correction = np.False_
    assert group.bias_correction is False


def test_a_state_does_not_start_from_infinity():
    with pytest.raises(ValueError, match=r"^lr is 1e\+39, the initial value of the state step_size of params"):
        optim.Rprop([np.zeros(2, np.float32)], lr=1e39, step_max=1e300)


@pytest.mark.parametrize(
    ("params", "error", "said"),
    [
        (lambda: [{"params": {"a": np.ones(2)}}, {"params": {"a": np.ones(2)}}], ValueError,
         "params has 'a' in two groups; expected names that differ"),
        (lambda: [{"params": {"a": np.ones(2)}}, {"params": [np.ones(2)]}], TypeError,
         "params has groups with names and groups without; expected names in all of them, or in none"),
        (lambda: [{"params": [np.ones(2)]}, {"params": {"a": np.ones(2)}}], TypeError,
         "params has groups with names and groups without"),
        (lambda: [{"params": {3: np.ones(2)}}], TypeError, "params has the name 3, a int; expected a str"),
        (lambda: {3: np.ones(2)}, TypeError, "params has the name 3, a int; expected a str"),
    ],
)  # fmt: skip
def test_names_of_groups_differ_and_all_have_them_or_none(params, error, said):
    with pytest.raises(error, match=f"^{re.escape(said)}"):
        optim.SGD(params(), lr=0.1)
