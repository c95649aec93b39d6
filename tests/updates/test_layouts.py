"""Promise 1, layouts: for all strides, the result equals the contiguous one, bit for bit."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastopt
from fastopt.scaling import StandardScaler
from tests.cases import BY_NAME, CASES
from tests.support import LAYOUTS, assert_same_bits, copies

SHAPES = [(), (1,), (7,), (5000,), (100, 33), (3, 1, 5), (64, 64, 3), (2, 3, 4, 5, 6), (300, 401), (0, 3), (2, 0)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_arrays_of_one_call_may_differ_in_layout(shape):
    case = BY_NAME["adamw"]
    start = case.make_arrays(shape)
    wanted = copies(start)
    case.run(wanted, 3)
    for first, second in itertools.product(LAYOUTS, LAYOUTS):
        got = {name: (first if i in (0, 3) else second)(array) for i, (name, array) in enumerate(start.items())}
        case.run(got, 3)
        assert_same_bits(got, wanted, f"{first.__name__}, {second.__name__}")


DTYPES = ["float16", np.dtype(ml_dtypes.bfloat16), "float32", "float64"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_shape_strides_and_dtypes(data):
    """Axes permuted, reversed and stepped at random, each array its own; the rest of its buffer is not touched."""
    case = data.draw(st.sampled_from(CASES))
    shape = tuple(data.draw(st.lists(st.integers(0, 9), max_size=5)))
    if data.draw(st.booleans()) and shape:
        shape = (*shape[:-1], data.draw(st.sampled_from([31, 32, 33, 513, 1025])))
    start = case.make_arrays(shape)
    start = {name: array.astype(data.draw(st.sampled_from(DTYPES))) for name, array in start.items()}
    wanted, got, buffers = copies(start), {}, {}
    case.run(wanted, 3)
    for name, values in start.items():
        axes = data.draw(st.permutations(range(len(shape))))
        steps = [data.draw(st.sampled_from([1, 1, 1, 2, 3])) for _ in shape]
        signs = [data.draw(st.sampled_from([1, 1, -1])) for _ in shape]
        buffer = np.full([shape[a] * steps[a] for a in axes], 77, values.dtype)
        view = buffer[(..., *(slice(None, None, steps[a]) for a in axes))].transpose(np.argsort(axes))
        view = view[(..., *(slice(None, None, sign) for sign in signs))]
        view[...] = values
        got[name], buffers[name] = view, buffer
    case.run(got, 3, num_threads=data.draw(st.sampled_from([1, 2])))
    assert_same_bits(got, wanted)
    for name, buffer in buffers.items():
        got[name][...] = 77
        assert np.all(buffer == 77), f"{name}: bytes between its elements were written"


def test_a_gradient_may_be_broadcast():
    param = np.arange(6, dtype="f4").reshape(2, 3)
    fastopt.sgd(param, np.broadcast_to(np.float32(1), (2, 3)), lr=1.0)
    np.testing.assert_array_equal(param, np.arange(-1, 5).reshape(2, 3))


def test_interleaved_arrays_that_share_no_element_are_accepted():
    """State in one array of records: each column its own array, the byte ranges overlapping."""
    case = BY_NAME["adam"]
    start = case.make_arrays((50, 3))
    table = np.stack([start[name] for name in case.arrays], axis=-1)
    wanted = copies(start)
    case.run(wanted, 3)
    columns = {name: table[..., i] for i, name in enumerate(case.arrays)}
    case.run(columns, 3)
    assert_same_bits(columns, wanted)


def test_many_dimensions():
    shape = (2,) * 16
    start = BY_NAME["adam"].make_arrays(shape)
    wanted, got = copies(start), {name: array.T.copy().T for name, array in start.items()}
    got["grad"] = start["grad"][(slice(None, None, -1),) * 16].copy()[(slice(None, None, -1),) * 16]
    BY_NAME["adam"].run(wanted, 2)
    BY_NAME["adam"].run(got, 2)
    assert_same_bits(got, wanted)


@pytest.mark.parametrize(
    "function", ["residual_add", "residual_add_backward", "dropout_forward", "dropout_backward", "scaler"]
)
@pytest.mark.parametrize(("dtype", "other"), [("float16", ml_dtypes.bfloat16), (ml_dtypes.bfloat16, "float16")])
def test_a_result_in_another_storage_over_the_same_memory_is_refused(function, dtype, other):
    """In place is what has the same elements, not only the same bytes."""
    x, residual = np.ones((6, 5), dtype), np.ones((6, 5), dtype)
    calls = {
        "residual_add": lambda out: fastopt.residual_add(x, residual, out=out),
        "residual_add_backward": lambda out: fastopt.residual_add_backward(x, y=residual, activation="relu", out=out),
        "dropout_forward": lambda out: fastopt.dropout_forward(x, p=0.5, seed=1, out=out),
        "dropout_backward": lambda out: fastopt.dropout_backward(x, p=0.5, seed=1, out=out),
        "scaler": lambda out: StandardScaler().fit(residual).transform(x, out=out),
    }
    with pytest.raises(ValueError, match=r"out overlaps .* in memory"):
        calls[function](x.view(other))
    np.testing.assert_array_equal(x, residual)
    calls[function](x)
