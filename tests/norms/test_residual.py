"""Residual connections without a norm: the formula, bits, any arrays, in place, bad input."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import fastopt
from tests.peers import peer
from tests.support import LAYOUTS, bits, cpus

SHAPES = [(), (0,), (1,), (5,), (1023,), (100_003,), (3, 4), (2, 0, 3), (1, 1), (70, 130), (3, 5, 7, 2), (40_000, 3)]
DTYPES = ["f4", "f8", "f2", ml_dtypes.bfloat16]
ACTIVATIONS = [None, "relu"]


def values(shape, dtype="f4", seed=0):
    made = np.array(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)
    return np.where(np.abs(made.astype("f8")) < 0.3, 0, made).astype(dtype)  # zeros too


def formula(x, residual, activation):
    """In the compute type; a sum that is rounded once."""
    wide = "f8" if "f8" in (x.dtype, residual.dtype) else "f4"
    y = x.astype(wide) + residual.astype(wide)
    return (y if activation is None else np.where(y <= 0, 0, y)).astype(x.dtype)


def same(got, wanted):
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_array_equal(bits(got), bits(wanted))


# ---- The formula


@pytest.mark.parametrize("backend", ["cython", "numba"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_and_backward(activation, dtype, backend):
    for shape in SHAPES:
        x, residual, dy = (values(shape, dtype, seed) for seed in range(3))
        before = x.copy(), residual.copy(), dy.copy()
        y = fastopt.residual_add(x, residual, activation=activation, backend=backend)
        same(y, formula(x, residual, activation))
        dx = fastopt.residual_add_backward(dy, y=y, activation=activation, backend=backend)
        same(dx, dy if activation is None else np.where(y <= 0, np.zeros_like(dy), dy))
        for array, kept in zip((x, residual, dy), before, strict=True):
            same(array, kept)


#: Arrays of shape (5, 0) whose strides are not those of a new one.
EMPTY = [
    lambda: np.ones((5, 8), "f4")[:, :0],
    lambda: np.ones((5, 8), "f4")[:, 8:],
    lambda: np.ones((0,), "f4").reshape(5, 0),
    lambda: np.ones((0, 5), "f4").T,
    lambda: np.ones((8, 5), "f4")[:0].T,
    lambda: np.ones((5, 0), "f4"),
]


@pytest.mark.parametrize("backend", ["cython", "numba"])
def test_empty_arrays_of_any_strides(backend):
    for x in EMPTY:
        for other in EMPTY:
            for out in [lambda: None, *EMPTY]:
                assert fastopt.residual_add(x(), other(), out=out(), backend=backend).shape == (5, 0)
                options = {"activation": "relu", "out": out(), "backend": backend}
                assert fastopt.residual_add_backward(x(), y=other(), **options).shape == (5, 0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_reference_backend(activation):
    x, residual, dy = (values((7, 3), seed=seed) for seed in range(3))
    y = fastopt.residual_add(x, residual, activation=activation, backend="reference")
    same(y, fastopt.residual_add(x, residual, activation=activation))
    got, wanted = (
        fastopt.residual_add_backward(dy, y=y, activation=activation, out=np.empty_like(dy), backend=backend)
        for backend in ("reference", None)
    )
    np.testing.assert_array_equal(got, wanted)


def test_nan_and_infinity_as_in_the_norms():
    x = np.array([np.nan, np.inf, -np.inf, np.inf, 1, -1], "f4")
    residual = np.array([1, 1, 1, -np.inf, np.nan, -1], "f4")
    y = fastopt.residual_add(x, residual, activation="relu")
    np.testing.assert_array_equal(y, [np.nan, np.inf, 0, np.nan, np.nan, 0])
    dx = fastopt.residual_add_backward(np.arange(1, 7, dtype="f4"), y=y, activation="relu")
    np.testing.assert_array_equal(dx, [1, 2, 0, 4, 5, 0])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_bits_of_a_norm_that_it_is_fused_with(activation):
    """A norm whose result is x itself: of 1 and -1 with weights that are x."""
    weight, residual = values(1000), values((2, 1000), seed=1)
    x = np.stack([np.ones(1000, "f4"), -np.ones(1000, "f4")])
    alone, _, rstd = fastopt.batch_norm_forward(x, weight, eps=0.0)
    assert (rstd == 1).all()
    fused, *_ = fastopt.batch_norm_forward(x, weight, eps=0.0, residual=residual, activation=activation)
    same(fastopt.residual_add(alone, residual, activation=activation), fused)


@pytest.mark.parametrize("given", DTYPES, ids=str)
@pytest.mark.parametrize("other", DTYPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_mixture_of_dtypes(activation, given, other):
    x, residual = values(3001, given), values(3001, other, 1)
    same(fastopt.residual_add(x, residual, activation=activation), formula(x, residual, activation))
    out = np.empty(3001, other)
    wide = formula(x.astype("f8"), residual.astype("f8"), activation)  # two 8 to 24-bit numbers: exact in float64
    assert fastopt.residual_add(x, residual, activation=activation, out=out) is out
    np.testing.assert_allclose(out.astype("f8"), wide, rtol=2**-8)


# ---- Bits


def test_memory_order_is_that_of_x():
    x = np.asfortranarray(values((40, 50)))
    assert fastopt.residual_add(x, x.copy("C")).flags.f_contiguous


@pytest.mark.ci
@pytest.mark.parametrize("layout", ["contiguous", "strided", "bfloat16", "past the caches"])
def test_thread_counts_give_the_same_bits(layout):
    rows = 30_000 if layout == "past the caches" else 700  # 96 MB and more
    x, residual = values((rows, 801)), values((rows, 801), seed=1)
    if layout == "strided":
        residual = np.asfortranarray(residual)
    if layout == "bfloat16":
        x = x.astype(ml_dtypes.bfloat16)
    wanted = formula(x, residual, "relu")
    with cpus(7):
        for threads in (1, 2, 7):
            same(fastopt.residual_add(x, residual, activation="relu", num_threads=threads), wanted)


# ---- In place


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_out_may_be_an_array_that_is_read(dtype, layout, backend):
    for shape in [(5,), (70, 130), (3, 5, 7, 2)]:
        x, residual, dy = (values(shape, dtype, seed) for seed in range(3))
        wanted = formula(x, residual, "relu")
        wanted_dx = fastopt.residual_add_backward(dy, y=wanted, activation="relu")
        for position in (0, 1):
            arrays = layout(x), layout(residual)
            out = arrays[position]
            assert fastopt.residual_add(*arrays, activation="relu", out=out, backend=backend) is out
            same(out, wanted)
            same(arrays[1 - position], (residual, x)[position])
            arrays = layout(dy), layout(wanted)
            out = arrays[position]
            fastopt.residual_add_backward(arrays[0], y=arrays[1], activation="relu", out=out, backend=backend)
            np.testing.assert_array_equal(out, wanted_dx)


def test_out_may_be_all_that_is_read():
    x = values((70, 130))
    wanted = formula(x, x, "relu"), np.where(x <= 0, np.zeros_like(x), x)
    summed, gated = x.copy(), x.copy()
    fastopt.residual_add(summed, summed, activation="relu", out=summed)
    fastopt.residual_add_backward(gated, y=gated, activation="relu", out=gated)
    for got, each in zip((summed, gated), wanted, strict=True):
        same(got, each)


def test_in_place_on_several_threads():
    x, residual = values(3_000_001), values(3_000_001, seed=1)
    wanted = formula(x, residual, "relu")
    with cpus(7):
        fastopt.residual_add(x, residual, activation="relu", out=x, num_threads=7)
    same(x, wanted)


def test_a_view_of_the_same_elements_is_the_same_array():
    x, residual = values((4, 6)), values((4, 6), seed=1)
    wanted = formula(x, residual, None)
    same(fastopt.residual_add(x, residual, out=x[:, :]), wanted)


def test_without_an_activation_the_gradient_is_dy_itself():
    dy = values(5)
    assert fastopt.residual_add_backward(dy) is dy
    assert fastopt.residual_add_backward(dy, y=values(5)) is dy
    out = np.empty(5, ml_dtypes.bfloat16)
    assert fastopt.residual_add_backward(dy, out=out) is out
    same(out, dy.astype(ml_dtypes.bfloat16))


# ---- Bad input


def misaligned(x):
    return np.frombuffer(bytearray(x.nbytes + 1), "u1")[1:].view(x.dtype)


X = values(6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": None}, TypeError, "^x is None; expected an array"),
        ({"residual": None}, TypeError, "^residual is None; expected an array"),
        ({"residual": [1.0] * 6}, TypeError, "^residual is a list; expected an array"),
        ({"x": X.astype("i4")}, TypeError, "^x has dtype int32; expected"),
        ({"residual": X.astype(">f4")}, TypeError, "^residual has dtype >f4, of foreign byte order"),
        ({"residual": X[:5]}, ValueError, r"^residual has shape \(5,\); expected \(6,\), the shape of x"),
        ({"residual": X[:1]}, ValueError, r"^residual has shape \(1,\); expected \(6,\), the shape of x"),
        ({"residual": misaligned(X)}, ValueError, "^residual is misaligned"),
        ({"out": np.zeros(5, "f4")}, ValueError, r"^out has shape \(5,\); expected \(6,\), the shape of x"),
        ({"out": np.zeros(6, "i4")}, TypeError, "^out has dtype int32"),
        ({"out": np.broadcast_to(np.float32(0), 6)}, TypeError, "^out is read-only"),
        ({"activation": "gelu"}, ValueError, "^activation is 'gelu'; expected None or 'relu'"),
        ({"activation": 1}, TypeError, "^activation is 1, a int; expected None or 'relu'"),
        ({"num_threads": 0}, ValueError, "^num_threads is 0; expected"),
        ({"backend": "fortran"}, ValueError, "^backend is 'fortran'; expected"),
        ({"stream": 1}, ValueError, "^stream is 1; expected None, since x is in the host's memory"),
    ],
)
def test_bad_input_is_refused_by_name(change, error, message):
    given = {"x": X.copy(), "residual": X.copy(), "out": np.ones(6, "f4"), **change}
    with pytest.raises(error, match=message):
        fastopt.residual_add(**given)
    if "out" not in change:
        np.testing.assert_array_equal(given["out"], 1)


@pytest.mark.parametrize("shift", [1, -1, "reversed", "other dtype"])
def test_out_overlaps_nothing_that_it_is_not(shift):
    memory = values(40)
    before = memory.copy()
    x, residual = memory[10:20], memory[25:35]
    others = {1: memory[11:21], -1: memory[9:19], "reversed": x[::-1], "other dtype": memory.view("f8")[5:15]}
    with pytest.raises(ValueError, match="overlaps x in memory"):
        fastopt.residual_add(x, residual, out=others[shift])
    with pytest.raises(ValueError, match="out overlaps residual in memory"):
        fastopt.residual_add(x, memory[12:22], out=x)
    same(memory, before)


def test_a_gradient_needs_y():
    with pytest.raises(ValueError, match=r"^y is None; expected the output of the forward pass"):
        fastopt.residual_add_backward(X, activation="relu")
    with pytest.raises(ValueError, match=r"^y has shape \(5,\); expected \(6,\), the shape of dy"):
        fastopt.residual_add_backward(X, y=X[:5], activation="relu")
    with pytest.raises(TypeError, match=r"^dy has dtype int64"):
        fastopt.residual_add_backward(np.arange(6))


# ---- Others


@pytest.mark.peers
def test_pytorch_adds_and_cuts_off_alike():
    torch = peer("torch")
    for dtype in ("f4", "f8"):
        x, residual, dy = (values((30, 41), dtype, seed) for seed in range(3))
        terms = [torch.from_numpy(array).requires_grad_() for array in (x, residual)]
        wanted = torch.relu(terms[0] + terms[1])
        wanted.backward(torch.from_numpy(dy))
        y = fastopt.residual_add(x, residual, activation="relu")
        np.testing.assert_array_equal(y, wanted.detach().numpy())
        dx = fastopt.residual_add_backward(dy, y=y, activation="relu")
        for term in terms:
            np.testing.assert_array_equal(dx, term.grad.numpy())
