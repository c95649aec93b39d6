"""Promise 1 for norms: whatever the strides of each array, the result is that of C order, bit for bit."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastopt
from tests.norm_cases import ALONE, BFLOAT16, CASES, DTYPES, EXTREMES
from tests.support import LAYOUTS, Arrays, assert_same_bits, bits, copies, f_order

# Planes and rows below and above a block of 4096 bytes and a part of 2048 elements; channels of a cache line and more.
SHAPES = [(3, 4, 5, 6), (2, 3, 47, 46), (2, 300, 3, 3), (5, 2100), (70, 6)]


def channels_last(values: np.ndarray) -> np.ndarray:
    """The shape (N, C, ...) in the memory of (N, ..., C)."""
    return np.moveaxis(np.moveaxis(values, min(1, values.ndim - 1), -1).copy(), -1, min(1, values.ndim - 1))


EVERY_LAYOUT = [*LAYOUTS, channels_last]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
extremes = pytest.mark.parametrize("case", EXTREMES, ids=lambda case: case.name)


def results_in(made: Arrays, layout, updated: tuple[str, ...]) -> Arrays:
    """Return arrays for the results of a call, full of NaN, in this layout."""
    return {name: layout(np.full_like(x, np.nan, order="C")) for name, x in made.items() if name not in updated}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@extremes
def test_arrays_of_one_call_may_differ_in_layout(case, dtype):
    """One array, input or result, in each layout; the others in C order, and in channels-last order."""
    for shape in ((3, 4, 13, 13), (5, 70)):
        arrays = case.make_arrays(shape, dtype)
        made = case.forward(wanted := copies(arrays))
        wanted = made | case.backward(wanted, made)
        for name in [*arrays, *(name for name in wanted if name not in case.updated)]:
            for layout in EVERY_LAYOUT:
                for others in (np.copy, channels_last):
                    given = {key: (layout if key == name else others)(array) for key, array in arrays.items()}
                    out = results_in(wanted, others, case.updated)
                    if name in out:
                        out[name] = layout(out[name])
                    first = tuple(out[key] for key in case.made_forward)
                    got = case.forward(given, out=first[0] if case.inference else first)
                    got |= case.backward(given, got, out=tuple(out[key] for key in case.made_backward))
                    assert all(got[key] is out[key] for key in out), "another object than was given"
                    assert_same_bits(got, wanted, f"{shape}, {name} {layout.__name__}, others {others.__name__}")


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_shape_strides_and_dtypes(data):
    """Axes permuted, reversed and stepped at random, each array its own; the rest of its buffer is not touched."""
    case = data.draw(st.sampled_from(CASES))
    shape = tuple(data.draw(st.lists(st.integers(0, 6), min_size=2, max_size=5)))
    if data.draw(st.booleans()):
        shape = (*shape[:-1], data.draw(st.sampled_from([15, 16, 17, 513, 2049])))
    arrays = case.make_arrays(shape)
    arrays = {name: array.astype(data.draw(st.sampled_from(DTYPES))) for name, array in arrays.items()}
    buffers = []

    def anywhere(values):
        axes = data.draw(st.permutations(range(values.ndim)))
        steps = [data.draw(st.sampled_from([1, 1, 1, 2, 3])) for _ in axes]
        signs = [data.draw(st.sampled_from([1, 1, -1])) for _ in axes]
        buffer = np.full([values.shape[a] * steps[a] for a in axes], 77, values.dtype)
        view = buffer[tuple(slice(None, None, steps[a]) for a in axes)].transpose(np.argsort(axes))
        view = view[tuple(slice(None, None, sign) for sign in signs)]
        view[...] = values
        buffers.append((view, buffer))
        return view

    wanted = case.run(copies(arrays))
    given = {name: anywhere(array) for name, array in arrays.items()}
    out = results_in(wanted, anywhere, case.updated)
    first = tuple(out[name] for name in case.made_forward)
    threads = data.draw(st.sampled_from([1, 2]))
    got = case.forward(given, out=first[0] if case.inference else first, num_threads=threads)
    got |= case.backward(given, got, out=tuple(out[name] for name in case.made_backward), num_threads=threads)
    assert_same_bits(got, wanted)
    for view, buffer in buffers:
        view[...] = 77
        assert np.all(buffer == 77), "bytes between the elements of an array were written"


@every_case
def test_full_out_gives_the_results_without(case):
    arrays = case.make_arrays((4, 6, 9, 8))
    wanted = case.run(copies(arrays))
    out = results_in(wanted, np.copy, case.updated)
    got = case.forward(arrays, out=out["y"] if case.inference else [out[name] for name in case.made_forward])
    got |= case.backward(arrays, got, out=[out[name] for name in case.made_backward])
    assert all(got[name] is out[name] for name in out)
    assert_same_bits(got, wanted)


@every_case
def test_out_may_be_one_array_or_have_gaps(case):
    arrays = case.make_arrays((4, 6, 9, 8))
    made = case.forward(copies(arrays))
    wanted = case.backward(arrays, made)
    for pick in case.made_backward:
        out = tuple(np.full_like(wanted[name], np.nan) if name == pick else None for name in case.made_backward)
        got = case.backward(arrays, made, out=out)
        assert got[pick] is next(array for array in out if array is not None)
        assert_same_bits(got, wanted, pick)
    dx, y = np.full_like(wanted["dx"], np.nan), np.full_like(made["y"], np.nan)
    assert case.backward(arrays, made, out=dx)["dx"] is dx
    assert case.forward(copies(arrays), out=y)["y"] is y
    assert_same_bits({"dx": dx, "y": y}, {"dx": wanted["dx"], "y": made["y"]})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@extremes
def test_new_results_have_the_dtype_and_memory_order_of_x(case, dtype):
    for layout in (np.copy, f_order, channels_last):
        arrays = case.make_arrays((4, 6, 9, 8), dtype)
        arrays["x"] = layout(arrays["x"])
        made = case.run(arrays)
        for name in {"y", "dx", "dresidual"} & set(made):
            assert made[name].dtype == dtype
            assert made[name].strides == np.empty_like(arrays["x"]).strides, name
        for name in {"mean", "rstd", "dweight", "dbias"} & set(made):
            assert made[name].dtype == ("f8" if dtype == np.float64 else "f4")


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
@every_case
def test_zero_size_arrays_are_legal(case, backend):
    for shape in ((0, 6), (3, 0), (0, 6, 2), (3, 0, 2), (3, 6, 0), (0, 0, 0, 0), (3, 6, 0, 5)):
        arrays = case.make_arrays(shape)
        got = case.run(copies(arrays), backend=backend)
        assert got["y"].shape == got["dx"].shape == arrays["x"].shape
        assert got["dweight"].shape == got["dbias"].shape == arrays["weight"].shape
        for name in {"dweight", "dbias", "mean"} & set(got):
            np.testing.assert_array_equal(got[name], 0, f"{shape}, {name}")
        for name in case.updated:
            np.testing.assert_array_equal(got[name], arrays[name])


@extremes
def test_inputs_may_be_broadcast(case):
    arrays = case.make_arrays((4, 6, 9, 8))
    for name in ("x", "dy", "residual", "weight"):
        if name in arrays:
            first = arrays[name][(slice(0, 1),) * arrays[name].ndim]
            given = arrays | {name: np.broadcast_to(first, arrays[name].shape)}
            wanted = case.run(copies(given))
            assert_same_bits(case.run(copies(arrays) | {name: given[name]}), wanted, name)


def test_many_dimensions():
    case = ALONE[0]
    arrays = case.make_arrays((2,) * 16)
    wanted = case.run(copies(arrays))
    given = {name: array.T.copy().T for name, array in arrays.items()}
    given["dy"] = arrays["dy"][(slice(None, None, -1),) * 16].copy()[(slice(None, None, -1),) * 16]
    assert_same_bits(case.run(given), wanted)


def beside_unreadable_page(values: np.ndarray, side: str) -> np.ndarray:
    """Return a copy that ends, or starts, where the process may not read."""
    page = mmap.PAGESIZE
    inside = -(-values.nbytes // page) * page
    memory = np.frombuffer(mmap.mmap(-1, inside + 2 * page), "u1")
    start = page + (inside - values.nbytes if side == "end" else 0)
    copy = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    guard = memory.ctypes.data + (page + inside if side == "end" else 0)
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
    return copy


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", BFLOAT16], ids=str)
@pytest.mark.parametrize("side", ["end", "start"])
@extremes
def test_arrays_beside_an_unreadable_page(case, side, dtype):
    for shape in ((1, 1), (3, 6, 7), (2, 3, 5, 5), (4, 33), (2, 17, 1, 3)):
        arrays = case.make_arrays(shape, dtype)
        wanted = case.run(copies(arrays))
        out = results_in(wanted, lambda values: beside_unreadable_page(values, side), case.updated)
        given = {name: beside_unreadable_page(array, side) for name, array in arrays.items()}
        got = case.forward(given, out=out["y"] if case.inference else [out[name] for name in case.made_forward])
        got |= case.backward(given, got, out=[out[name] for name in case.made_backward])
        for name, values in wanted.items():
            np.testing.assert_array_equal(bits(got[name]), bits(values))


def test_gradients_of_nothing_take_no_time():
    """Of 2^40 samples without a feature, there is nothing to compute."""
    x, statistics = np.empty((2**40, 0), "f4"), np.broadcast_to(np.float32(0), (2**40,))
    dx, dweight, dbias = fastopt.layer_norm_backward(x, x, None, statistics, statistics)
    assert (dx.shape, dweight.shape, dbias.shape) == ((2**40, 0), (0,), (0,))
