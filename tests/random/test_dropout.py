"""Dropout: both forms, identical masks, exact bounds, in place, refusals."""

from __future__ import annotations

from math import sqrt

import ml_dtypes
import numpy as np
import pytest

from fastopt import dropout_backward, dropout_forward
from fastopt.reference.random import DROPOUT, bits
from tests.cuda.support import Exported
from tests.peers import peer
from tests.support import LAYOUTS, assert_same_bits
from tests.support import bits as bits_of

BOTH = [dropout_forward, dropout_backward]
both = pytest.mark.parametrize("function", BOTH, ids=lambda function: function.__name__)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])

#: What no formula lets through: NaN with bits of its own, infinities, zeros, subnormal numbers.
SPECIAL = np.array(
    [0x7FC12345, 0xFFC00001, 0x7F800001, 0x7F800000, 0xFF800000, 0x80000000, 0, 1, 0x807FFFFF], np.uint32
).view("f4")


def kept(shape, p, seed, offset):
    return (bits(shape, seed, offset, DROPOUT) >> np.uint64(8)) / 2**24 >= p


@pytest.mark.parametrize(
    ("mode", "training", "factor"),
    [("inverted", True, 1 / 0.75), ("inverted", False, 1), ("test-time", True, 1), ("test-time", False, 0.75)],
)
@dtypes
@both
def test_forms(function, dtype, mode, training, factor):
    x = np.random.default_rng(0).standard_normal((63, 65)).astype(dtype)
    y = function(x, p=0.25, seed=3, offset=4, mode=mode, training=training)
    mask = kept(x.shape, 0.25, 3, 4) if training else np.ones(x.shape, bool)
    wide = "f8" if dtype == "float64" else "f4"
    wanted = np.where(mask, x.astype(wide) * np.dtype(wide).type(factor), 0).astype(dtype)
    assert_same_bits({"y": y}, {"y": wanted})


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_expectation(p):
    """In training the mean of inverted dropout is x; and as many elements are dropped as should be."""
    n = 1_000_000
    y = dropout_forward(np.ones(n, "f4"), p=p, seed=1)
    assert abs(np.count_nonzero(y == 0) - n * p) < 5 * sqrt(n * p * (1 - p))
    assert abs(y.mean(dtype="f8") - 1) < 5 * sqrt(p / (1 - p) / n)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - p))}


def test_the_same_mask_for_every_dtype_and_layout():
    shape = (37, 5, 41)
    mask = kept(shape, 0.3, 8, 9)
    for dtype in ("f2", "f4", "f8"):
        for layout in LAYOUTS:
            for backend in (None, "numba", "reference"):
                x = layout(np.ones(shape, dtype))
                assert ((dropout_forward(x, p=0.3, seed=8, offset=9, backend=backend) != 0) == mask).all()


def test_bfloat16():
    bfloat16 = ml_dtypes.bfloat16
    x = np.random.default_rng(0).standard_normal((37, 41)).astype(bfloat16)
    y = dropout_forward(x, p=0.3, seed=8)
    assert y.dtype == bfloat16
    wanted = np.where(kept(x.shape, 0.3, 8, 0), x.astype("f4") * np.float32(1 / 0.7), 0).astype(bfloat16)
    assert_same_bits({"y": y}, {"y": wanted})


def test_backward_is_the_gradient_of_forward():
    """<dy, forward(x)> = <backward(dy), x>, for forward is linear."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 50, 60))
    for mode in ("inverted", "test-time"):
        for training in (True, False):
            options = {"p": 0.4, "seed": 1, "offset": 2, "mode": mode, "training": training}
            forward, backward = dropout_forward(x, **options), dropout_backward(dy, **options)
            assert abs((dy * forward).sum() - (backward * x).sum()) < 1e-10


def test_steps_and_layers_have_their_own_masks():
    masks = [dropout_forward(np.ones(10_000, "f4"), seed=s, offset=o) != 0 for s in (0, 1) for o in range(3)]
    for i, first in enumerate(masks):
        for second in masks[:i]:
            assert abs((first == second).mean() - 0.5) < 5 * 0.5 / sqrt(10_000)


# ---- Ends


@both
def test_p_of_0_is_x_bit_for_bit(function):
    for layout in (np.copy, np.flip):
        x = layout(np.resize(SPECIAL, (70, 3)))
        for y in (function(x, p=0.0, seed=1), function(x, p=0, seed=1, out=np.empty_like(x)), function(x, p=0.7, seed=1,
                  training=False)):  # fmt: skip
            assert (bits_of(y) == bits_of(x)).all()
        before = x.tobytes()
        assert function(x, p=0, seed=1, out=x) is x
        assert x.tobytes() == before
    half = np.arange(65536, dtype="u2").view("f2")
    assert (bits_of(function(half, p=0.0, seed=1)) == bits_of(half)).all()


@pytest.mark.parametrize("options", [{}, {"mode": "test-time"}, {"mode": "test-time", "training": False}], ids=str)
@dtypes
@both
def test_p_of_1_is_exact_zeros(function, dtype, options):
    with np.errstate(all="ignore"):
        x = np.resize(SPECIAL, (70, 3)).astype(dtype)
    for backend in (None, "numba", "reference"):
        assert not bits_of(function(x, p=1.0, seed=1, backend=backend, **options)).any()


@both
def test_what_is_dropped_is_0_whatever_it_was(function):
    x = np.resize(np.array([np.nan, np.inf, -np.inf, -0.0, -1.0], "f4"), 1000)
    y = function(x, p=0.5, seed=1)
    mask = kept(x.shape, 0.5, 1, 0)
    assert not bits_of(y[~mask]).any()
    assert (bits_of(y[mask]) == bits_of(2 * x[mask])).all()


# ---- Where results go


@dtypes
@both
def test_in_place(function, dtype):
    for shape in [(7,), (150_001,), (90, 70)]:
        for layout in (np.copy, np.asfortranarray, np.flip):
            x = layout(np.random.default_rng(0).standard_normal(shape).astype(dtype))
            wanted = function(x, p=0.5, seed=1)
            assert function(x, p=0.5, seed=1, out=x) is x
            assert_same_bits({"x": x}, {"x": wanted})


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_out_of_any_layout_and_dtype(layout):
    x = np.random.default_rng(0).standard_normal((33, 45)).astype("f4")
    for dtype in ("f2", "f4", "f8"):
        out = layout(np.full(x.shape, np.nan, dtype))
        returned = dropout_forward(x, p=0.4, seed=1, out=out)
        assert returned is out
        wide = x.astype("f8") if dtype == "f8" else x
        assert_same_bits({"out": out}, {"out": dropout_forward(wide, p=0.4, seed=1).astype(dtype)})


def test_x_may_be_read_only_or_broadcast():
    x = np.broadcast_to(np.ones(5, "f4"), (7, 5))
    assert_same_bits({"y": dropout_forward(x, seed=1)}, {"y": dropout_forward(x.copy(), seed=1)})


def test_new_arrays_are_as_x():
    for x in (np.zeros((3, 4), "f2", order="F"), np.zeros((2, 3, 4)).transpose(1, 2, 0), np.float32(1).reshape(())):
        y = dropout_forward(x, seed=1)
        assert (y.dtype, y.shape, y.strides) == (x.dtype, x.shape, x.strides)


@both
def test_empty_arrays(function):
    for shape in [(0,), (3, 0), (0, 5)]:
        assert function(np.empty(shape, "f4"), seed=1).shape == shape


@pytest.mark.peers
def test_a_torch_tensor():
    torch = peer("torch")
    x = torch.ones(3, 4)
    wanted = dropout_forward(np.ones((3, 4), "f4"), seed=1)
    version = x._version
    assert dropout_forward(x, seed=1, out=x) is x
    assert (x.numpy() == wanted).all()
    assert x._version > version


# ---- Refusals


def refused(function, x, error, message, **options):
    out = options.get("out")
    before = [a.tobytes() for a in (x, out) if isinstance(a, np.ndarray)]
    with pytest.raises(error, match=message):
        function(x, **{"seed": 1, **options})
    assert [a.tobytes() for a in (x, out) if isinstance(a, np.ndarray)] == before


@both
def test_partial_overlap(function):
    memory = np.ones(40, "f4")
    for out in (memory[4:24], memory[:20][::-1], memory[1:21]):
        for p in (0.0, 0.5):
            refused(function, memory[:20], ValueError, "^out overlaps (x|dy) in memory", out=out, p=p)
    square = np.ones((5, 5), "f4")
    refused(function, square, ValueError, "^out overlaps (x|dy) in memory", out=square.T)
    refused(function, np.ones(20, "f4"), ValueError, r"^out has shape \(5,\); expected \(20,\), the", out=square[0])


@both
def test_device_arrays(function):
    """By those backends that run on the host; tests/cuda has the rest."""
    host, device = np.ones((3, 4), "f4"), Exported(np.ones((3, 4), "f4"))
    for backend in ("cython", "numba", "reference"):
        message = f"^backend is '{backend}'; expected None or 'cuda', since (x|dy) is on a CUDA device"
        refused(function, device, ValueError, message, backend=backend)
    refused(function, host, ValueError, "^out is on CUDA device 0; expected it in the host", out=device)
    refused(function, device, ValueError, "^out is in the host's memory; expected it on CUDA device 0", out=host)
    refused(function, host, ValueError, "^stream is 5; expected None, since (x|dy) is in the host's", stream=5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"p": -0.1}, ValueError, "p is -0.1; expected a number from 0 to 1"),
        ({"p": 1.1}, ValueError, "p is 1.1; expected a number from 0 to 1"),
        ({"p": np.nan}, ValueError, "p is nan; expected"),
        ({"p": "0.5"}, TypeError, "p is '0.5', a str; expected"),
        ({"mode": "dropconnect"}, ValueError, "mode is 'dropconnect'; expected 'inverted' or 'test-time'"),
        ({"training": 1}, TypeError, "training is 1, a int; expected True or False"),
        ({"seed": -1}, ValueError, "seed is -1; expected"),
        ({"offset": 2**56}, ValueError, "offset is 72057594037927936; expected"),
        ({"num_threads": 0}, ValueError, "num_threads is 0; expected"),
        ({"backend": "fortran"}, ValueError, "backend is 'fortran'; expected"),
    ],
)
@both
def test_bad_numbers(function, options, error, message):
    refused(function, np.ones(8, "f4"), error, message, out=np.ones(8, "f4"), **options)
