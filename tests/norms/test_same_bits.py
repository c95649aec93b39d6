"""Promise 9 for norms: the same bits whatever the backend, the instruction set, the threads and the other samples."""

from __future__ import annotations

import numpy as np
import pytest

from tests.norm_cases import ALONE, BFLOAT16, BY_NAME, EXTREMES, NormCase
from tests.support import Arrays, assert_same_bits, copies

extremes = pytest.mark.parametrize("case", EXTREMES, ids=lambda case: case.name)


def in_a_frame(array: np.ndarray) -> np.ndarray:
    """Return a copy that NaNs surround in memory."""
    memory = np.full(tuple(extent + 2 for extent in array.shape), np.nan, array.dtype)
    inside = memory[(slice(1, -1),) * array.ndim]
    inside[...] = array
    return inside


RUNS = [*range(46, 67), 79, 80, 81, 127, 128, 129, 196, 256, 391, 784, 1008, 1023, 1024, 1025, 3136, 8191, 8192]


@pytest.mark.parametrize("dtype", ["float32", "float64", BFLOAT16], ids=str)
@pytest.mark.parametrize("name", ["batch", "batch+both"])
def test_planes_of_any_length_are_summed_up_alike(name, dtype):
    """Of samples that are apart, Cython's kernels find rows of lanes where they stand; Numba's engine collects them.

    At least two parts of a sum, which begin and end somewhere in a plane; the last one is not made of whole groups.
    """
    case = BY_NAME[name]
    for run in RUNS:
        arrays = case.make_arrays((5000 // run + 3, 4, run), dtype)
        arrays["x"][0, 1, 0] = 30_000  # sums of that channel have a second round
        arrays["x"][2, 3, run - 1] = np.inf
        arrays = {key: in_a_frame(array) if array.ndim == 3 else array for key, array in arrays.items()}
        running = {key: arrays[key] for key in case.updated}
        numba, cython = (case.run(arrays | copies(running), backend=backend) for backend in ("numba", "cython"))
        assert_same_bits(numba, cython, str(run))


OF_SAMPLES = [case for case in EXTREMES if case.norm != "batch"]


def samples(case: NormCase, arrays: Arrays, part: slice) -> Arrays:
    """Return the arrays of some samples."""
    whole = arrays["x"].shape
    return {name: array[part] if array.shape == whole else array for name, array in arrays.items()}


@pytest.mark.parametrize("case", OF_SAMPLES, ids=lambda case: case.name)
def test_a_sample_does_not_depend_on_the_others(case):
    """Alone, among few and among many, which are walked in other ways; the order of samples is nothing, either."""
    for shape in ((41, 6, 5, 5), (70, 130), (40, 9_000), (12, 16, 56, 56)):
        arrays = case.make_arrays(shape)
        whole = case.run(copies(arrays))
        for part in (slice(0, 1), slice(3, 5), slice(5, None), slice(None, None, -1)):
            got = case.run(samples(case, arrays, part))
            for name in set(got) - {"dweight", "dbias"}:
                assert_same_bits({name: got[name]}, {name: whole[name][part]}, f"{shape}, {part}")


@pytest.mark.ci
@pytest.mark.parametrize("case", OF_SAMPLES[:4] + OF_SAMPLES[-1:], ids=lambda case: case.name)
def test_results_that_go_past_the_caches_are_the_same(case):
    """Results of 69 MB are stored past the caches; those of a few samples are not."""
    arrays = case.make_arrays((42, 64, 80, 80))
    arrays["x"][0, 0, 0, :3] = np.nan, np.inf, 0
    whole = case.run(copies(arrays))
    for part in (slice(0, 3), slice(20, 23), slice(39, None)):
        got = case.run(samples(case, arrays, part))
        for name in ("y", "dx"):
            assert_same_bits({name: got[name]}, {name: whole[name][part]}, str(part))


OF_CHANNELS = [case for case in EXTREMES if case.norm == "batch" and case.axis == 1]


def at_an_odd_place(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Return a copy whose axes stand in this order in memory, from the second element of some memory on."""
    shape = tuple(array.shape[axis] for axis in order)
    memory = np.empty(array.size + 1, array.dtype)[1:].reshape(shape).transpose(np.argsort(order))
    memory[...] = array
    return memory


@pytest.mark.ci
@pytest.mark.parametrize("dtype", ["float32", BFLOAT16], ids=str)
@pytest.mark.parametrize("case", OF_CHANNELS, ids=lambda case: case.name)
def test_large_arrays_in_any_layout_give_the_same_bits(case, dtype):
    """19 MB each: beyond a core's own caches, where planes are stored past them, and pixels are summed up in turn."""
    shape = (24, 64, 56, 56)
    arrays = case.make_arrays(shape, dtype)
    arrays["x"][3, 5, 1, 7] = np.inf
    wanted = case.run(copies(arrays))
    for order in ((0, 1, 2, 3), (0, 2, 3, 1), (1, 0, 2, 3)):
        for backend in ("cython", "numba"):
            given = copies(arrays)
            given |= {name: at_an_odd_place(array, order) for name, array in given.items() if array.ndim == 4}
            assert_same_bits(case.run(given, backend=backend), wanted, f"{order}, {backend}")


def behind_a_line(array: np.ndarray, elements: int) -> np.ndarray:
    """Return an array of the same shape that begins so many elements behind a cache line's beginning."""
    memory = np.full(array.size + 32, np.nan, array.dtype)
    elements += -(memory.ctypes.data // array.itemsize) % (64 // array.itemsize)
    return memory[elements : elements + array.size].reshape(array.shape)


# By themselves, the last two keep a part of their results in the caches.
@pytest.mark.ci
@pytest.mark.parametrize(
    "name",
    ["batch+both", "batch-last+both", "inference-last+both", "layer+both", "instance+both", "inference", "batch-last"],
)
@pytest.mark.parametrize(
    ("channels", "place", "dtype"),
    [*((*each, "f4") for each in [(1, 1), (3, 5), (33, 9), (64, 4), (72, 15), (256, 3), (520, 7)]), (64, 3, "f8")],
)
def test_results_go_past_the_caches_wherever_they_begin(name, channels, place, dtype):
    """Over 32 MiB a call. Cython's kernels store lines, and apart what is beside them; Numba's go through blocks."""
    case = BY_NAME[name]
    elements = 3_000_000 if case.residual else 6_000_000
    arrays = case.make_arrays((elements // 49 // channels, channels, 7, 7), dtype)
    made = case.forward(copies(arrays), backend="numba")
    y = case.forward(copies(arrays), out=behind_a_line(made["y"], place))["y"]
    assert_same_bits({"y": y}, {"y": made["y"]}, "forward")
    wanted = case.backward(arrays, made, backend="numba")
    out = [behind_a_line(array, place + i) for i, array in enumerate(wanted.values())]
    assert_same_bits(case.backward(arrays, made, out=tuple(out)), wanted, "backward")


@pytest.mark.parametrize("case", [case for case in ALONE if case.norm == "batch"], ids=lambda case: case.name)
def test_a_channel_does_not_depend_on_the_others(case):
    for shape in ((6, 40, 9, 9), (300, 70), (2, 5, 60, 60)):
        arrays = case.make_arrays(shape)
        whole = case.run(copies(arrays))
        for part in (slice(1, 2), slice(2, 5)):
            index = {len(shape): (slice(None),) * (case.axis % len(shape)) + (part,), 1: (part,)}
            of_part = {name: array[index[array.ndim]] for name, array in arrays.items()}
            wanted = {name: array[index[array.ndim]] for name, array in whole.items()}
            for name in case.updated:  # they were copies, and are updated once
                wanted[name] = whole[name][part]
            assert_same_bits(case.run(copies(of_part)), wanted, f"{shape}, {part}")
