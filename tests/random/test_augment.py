"""fastopt.augment: distributions, images beside plain NumPy, a counter for each sample, refusals."""

from __future__ import annotations

import doctest
import inspect
from collections import Counter
from math import sqrt

import ml_dtypes
import numpy as np
import pytest
from scipy import stats

import fastopt
from fastopt import augment, minibatches
from fastopt.reference.random import philox
from tests.cuda.support import OnDevice
from tests.peers import peer
from tests.support import LAYOUTS, cpus

KEY = {"seed": 0x123456789ABCDEF0, "offset": 0x00FEDCBA98765400}
DTYPES = ["u1", "i2", "f4", ">f4", "f8", ml_dtypes.bfloat16, "c8", [("a", "u1"), ("b", "u2")], "S5", bool]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)
axes = pytest.mark.parametrize("axis", [1, -1])


# ---- Noise


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("uniform", [False, True])
def test_noise_is_what_is_added(dtype, uniform):
    """Moments, the distribution, and no correlation with x or with the neighbour."""
    n, std = 1_000_000, 0.25
    x = np.random.default_rng(0).standard_normal(n).astype(dtype)
    given = x.astype("f8")
    augment.noise_(x, std=std, seed=2, uniform=uniform)
    z = (x.astype("f8") - given) / std
    variance = 1 / 3 if uniform else 1
    assert abs(z.mean()) < 5 * sqrt(variance / n)
    assert abs(z.var() / variance - 1) < 5 * sqrt(2 / n)
    assert stats.kstest(z, "uniform", (-1, 2)).pvalue > 1e-3 if uniform else stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z, given)[0, 1]) < 5 / sqrt(n)
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 5 / sqrt(n)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("uniform", [False, True])
def test_noise_is_the_formulas(dtype, uniform):
    x = np.random.default_rng(0).standard_normal((41, 103)).astype(dtype)
    got, wanted = x.copy(), x.copy()
    augment.noise_(got, std=0.5, uniform=uniform, **KEY)
    augment.noise_(wanted, std=0.5, uniform=uniform, backend="reference", **KEY)
    step = {"float32": 5e-7, "float64": 1e-15, "float16": 2e-3}[dtype]
    np.testing.assert_allclose(got.astype("f8"), wanted.astype("f8"), rtol=2 * step, atol=step)
    assert (got != x).mean() > 0.99


def test_uniform_noise_is_from_minus_std_to_below_std():
    x = np.zeros(4_000_000, np.float32)
    augment.noise_(x, std=0.7, seed=1, uniform=True)
    assert -np.float32(0.7) <= x.min() < -0.6999
    assert 0.6999 < x.max() < np.float32(0.7)


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("backend", [None, "numba", "reference"])
def test_noise_leaves_what_is_no_number_and_may_overflow(backend, uniform):
    given = np.array([np.nan, np.inf, -np.inf] * 7, np.float32)
    x = given.copy()
    augment.noise_(x, std=1.0, seed=1, uniform=uniform, backend=backend)
    np.testing.assert_array_equal(x, given)
    x = np.full(1000, np.finfo("f4").max, np.float32)
    augment.noise_(x, std=1e38, seed=1, uniform=uniform, backend=backend)
    assert np.isposinf(x).any()
    x = np.arange(5.0)
    augment.noise_(x, std=0.0, seed=1, uniform=uniform, backend=backend)
    np.testing.assert_array_equal(x, np.arange(5))


def test_noise_shares_no_bits_with_initialisation_and_dropout():
    x, z = np.zeros(10_000, np.float32), np.empty(10_000, np.float32)
    augment.noise_(x, std=1.0, seed=1)
    fastopt.init.normal_(z, std=1.0, seed=1)
    assert abs(np.corrcoef(x, z)[0, 1]) < 0.05


@pytest.mark.parametrize("std", [-1.0, np.nan, np.inf, 1e39])
def test_noise_refuses_a_standard_deviation(std):
    x = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"^std is .*; expected a .*finite"):
        augment.noise_(x, std=std, seed=1)
    assert not x.any()


# ---- Images: the plain formula


def words(purpose, seed, counter):
    tweak = counter | purpose << 56
    halves = [0, 0, tweak & 0xFFFFFFFF, tweak >> 32, seed & 0xFFFFFFFF, seed >> 32]
    return [int(word) for word in philox(np.array(halves[:4], "u8"), np.array(halves[4:], "u8"))]


def positions(purpose, seed, counter, counts):
    drawn = words(purpose, seed, counter)
    return [(drawn[2 * i] | drawn[2 * i + 1] << 32) % count for i, count in enumerate(counts)]


def plain(name, x, seed, offset, axis, p=0.5, size=None, shape=None, padding=(0, 0), fill=0.0):
    """The result of flip, shift or crop, image by image; pairs are given as such."""
    made = []
    for i, image in enumerate(np.moveaxis(x, axis, 1)):
        if name == "flip":
            is_flipped = (words(7, seed, offset + i)[0] >> 8) / 2**24 < p
            made.append(image[:, :, ::-1] if is_flipped else image)
            continue
        pad = size if name == "shift" else padding
        rows, columns = image.shape[1:] if name == "shift" else shape
        wide = np.zeros((len(image), image.shape[1] + 2 * pad[0], image.shape[2] + 2 * pad[1]), x.dtype)
        if fill:
            wide[...] = fill
        wide[:, pad[0] : pad[0] + image.shape[1], pad[1] : pad[1] + image.shape[2]] = image
        counts = wide.shape[1] - rows + 1, wide.shape[2] - columns + 1
        top, left = positions({"shift": 8, "crop": 9}[name], seed, offset + i, counts)
        made.append(wide[:, top : top + rows, left : left + columns])
    return np.ascontiguousarray(np.moveaxis(np.array(made, x.dtype), 1, axis))


def images(shape, axis, dtype="f4", samples=None):
    """Images (C, H, W), as many as ``samples``."""
    full = (samples or 9, *shape)
    values = np.random.default_rng(0).integers(1, 250, full)
    if np.dtype(dtype).names or np.dtype(dtype).kind == "S":
        size = np.dtype(dtype).itemsize
        raw = np.random.default_rng(1).integers(1, 250, (*full, size), "u1")
        x = np.ascontiguousarray(raw).view(dtype)[..., 0]
    else:
        x = values.astype(dtype)
    return np.ascontiguousarray(np.moveaxis(x, 1, axis))


CALLS = {
    "flip": ({}, {"p": 0.3}, {"p": 0.0}, {"p": 1.0}),
    "shift": ({"size": (2, 1)}, {"size": (0, 3)}, {"size": (0, 0)}, {"size": (2, 2), "fill": 1.0}),
    "crop": (
        {"shape": (3, 2)}, {"shape": (5, 7), "padding": (2, 3)}, {"shape": (9, 12), "padding": (2, 3), "fill": 1.0},
        {"shape": (1, 1), "padding": (0, 4)},
    ),
}  # fmt: skip
every = pytest.mark.parametrize(("name", "options"), [(name, each) for name in CALLS for each in CALLS[name]])


def equal(got, wanted):
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    assert got.tobytes() == wanted.tobytes()


@axes
@dtypes
@every
def test_images_are_those_of_plain_numpy(name, options, dtype, axis):
    dtype = np.dtype(dtype)
    if options.get("fill") and (dtype.names or dtype.kind == "S"):
        options = {**options, "fill": 0.0}
    x = images((3, 5, 6), axis, dtype)
    wanted = plain(name, x, *KEY.values(), axis, **options)
    got = getattr(augment, name)(x, axis=axis, **options, **KEY)
    equal(got, wanted)
    out = np.zeros_like(wanted)
    assert getattr(augment, name)(x, axis=axis - 4 if axis == 1 else 3, out=out, **options, **KEY) is out
    equal(out, wanted)


@axes
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 1), (2, 1, 17), (3, 31, 33), (4, 16, 16), (5, 2, 3), (1, 28, 28)])
@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_odd_sizes_and_layouts(shape, dtype, axis):
    x = images(shape, axis, dtype)
    rows, columns = shape[1:]
    calls = {
        "flip": {},
        "shift": {"size": (rows // 2, columns)},
        "crop": {"shape": (rows, columns), "padding": (1, 2)},
    }
    for name, options in calls.items():
        wanted = plain(name, x, *KEY.values(), axis, **options)
        for i, layout in enumerate(LAYOUTS):
            out = LAYOUTS[i - 3](np.zeros_like(wanted))
            getattr(augment, name)(layout(x), axis=axis, out=out, **options, **KEY)
            equal(np.ascontiguousarray(out), wanted)


def test_one_memory_in_both_axis_orders():
    """Channels that are last in memory stand second here, and the other way round."""
    x = images((3, 8, 8), 1, "u1")
    last = np.moveaxis(x, 1, -1)
    for name, (options, *_) in CALLS.items():
        function = getattr(augment, name)
        equal(np.moveaxis(function(last, axis=-1, **options, **KEY), -1, 1).copy(), function(x, **options, **KEY))


@pytest.mark.parametrize("shape", [(0, 3, 5, 6), (4, 0, 5, 6), (4, 3, 0, 6), (4, 3, 5, 0)])
def test_empty_batches(shape):
    x = np.empty(shape, np.uint8)
    assert augment.flip(x, seed=1).shape == shape
    assert augment.shift(x, size=0, seed=1).shape == shape
    padded = augment.crop(x, shape=(5, 6), padding=3, fill=7, seed=1)
    assert padded.shape == (*shape[:2], 5, 6)
    assert (padded == 7).all() or (shape[2] and shape[3])


@every
def test_each_sample_has_its_own_counter(name, options):
    """Parts of a batch, each with the offset of its first sample, are the whole; on any number of threads."""
    function = getattr(augment, name)
    x = images((2, 5, 6), 1, "u1", samples=7000)
    with cpus(7):
        wholly = [function(x, num_threads=threads, **options, **KEY) for threads in (1, 2, 7)]
    equal(wholly[1], wholly[0])
    equal(wholly[2], wholly[0])
    key = dict(KEY)
    for first, last in ((0, 1), (1, 64), (64, 6999), (6999, 7000)):
        key["offset"] = KEY["offset"] + first
        equal(function(x[first:last], **options, **key), wholly[0][first:last])


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_as_many_are_flipped_as_should_be(p):
    n = 100_000
    x = np.broadcast_to(np.array([0, 1], np.uint8), (n, 1, 1, 2))
    flipped = augment.flip(x, p=p, seed=3)[:, 0, 0, 0]
    assert abs(int(flipped.sum()) - n * p) < 5 * sqrt(n * p * (1 - p))
    assert abs(np.corrcoef(flipped[1:], flipped[:-1])[0, 1]) < 5 / sqrt(n)


def test_all_positions_are_as_likely_and_independent():
    n, rows, columns = 35_000, 7, 5
    x = np.broadcast_to(np.arange(rows * columns, dtype=np.uint8).reshape(1, 1, rows, columns), (n, 1, rows, columns))
    cut = augment.crop(x, shape=1, seed=3)[:, 0, 0, 0]
    moved = augment.shift(x, size=(3, 2), fill=99, seed=3)[:, 0, 3, 2]
    for drawn in (cut, moved):
        counted = np.array(list(Counter(drawn.tolist()).values()))
        assert len(counted) == rows * columns
        assert ((counted - 1000) ** 2 / 1000).sum() < 71  # 34 degrees of freedom: more once in 5,000
    agreeing = n / (rows * columns)
    assert abs(int((cut == moved).sum()) - agreeing) < 5 * sqrt(agreeing)  # other purposes, other bits


def test_batches_without_another_copy():
    """Of the batch that minibatches yields, into buffers that are used again; each epoch can be repeated."""
    x = np.random.default_rng(0).integers(0, 255, (100, 8, 8, 3)).astype(np.uint8)
    buffers = np.empty((2, 32, 8, 8, 3), np.uint8)

    def epoch(number):
        for i, batch in enumerate(minibatches(x, batch_size=32, seed=1, epoch=number)):
            key = {"seed": 1, "offset": number * len(x) + 32 * i, "axis": -1}
            cut = augment.crop(batch, shape=8, padding=2, out=buffers[0, : len(batch)], **key)
            yield augment.flip(cut, out=buffers[1, : len(batch)], **key).copy()

    first, again, other = (np.concatenate(list(epoch(number))) for number in (0, 0, 1))
    equal(again, first)
    assert (other != first).any()


# ---- What is refused


def refused(error, match, name, x, out=None, **options):
    before = None if not isinstance(out, np.ndarray) else out.tobytes()
    with pytest.raises(error, match=f"^{match}"):
        getattr(augment, name)(x, out=out, **{"seed": 1, **CALLS[name][0], **options})
    assert before is None or out.tobytes() == before


X = np.ones((2, 3, 5, 6), np.float32)


@pytest.mark.parametrize(("options", "error", "match"), [
    ({"axis": 0}, ValueError, "axis is 0; expected 1 for"),
    ({"axis": 2}, ValueError, "axis is 2; expected 1 for"),
    ({"seed": -1}, ValueError, "seed is -1; expected a whole number from 0"),
    ({"offset": 2**56 - 1}, ValueError, f"offset is {2**56 - 1}; expected at most {2**56 - 2}, for x has 2 samples"),
    ({"num_threads": 0}, ValueError, "num_threads is 0; expected"),
    ({"out": np.zeros((2, 3, 5, 6))}, TypeError, "out has dtype float64; expected float32, that of x"),
    ({"out": np.zeros((2, 3, 6, 5), "f4")}, ValueError, r"out has shape \(2, 3, 6, 5\); expected \("),
    ({"out": [1]}, TypeError, "out is a list; expected an array in the host's memory"),
    ({"out": np.broadcast_to(np.float32(1), (2, 3, 5, 6))}, ValueError, r"out (is read-only|has shape)"),
])  # fmt: skip
@pytest.mark.parametrize("name", CALLS)
def test_refusals(name, options, error, match):
    error = (error, TypeError) if "read-only" in match else error
    refused(error, match, name, X, **options)


@pytest.mark.parametrize(("name", "options", "match"), [
    ("flip", {"p": 1.5}, "p is 1.5; expected a number from 0 to 1"),
    ("shift", {"size": (6, 0)}, r"size is \(6, 0\); expected at most \(5, 6\), the height and width"),
    ("shift", {"size": -1}, "size is -1; expected a whole number from 0 to"),
    ("shift", {"size": (1, 2, 3)}, r"size is \(1, 2, 3\); expected a whole number from 0 to .*, or two"),
    ("shift", {"fill": np.inf}, "fill is inf; expected a finite number"),
    ("shift", {"fill": 1e39}, r"fill is 1e\+39; expected a number that float32 can store"),
    ("crop", {"shape": 0}, "shape is 0; expected a whole number from 1 to"),
    ("crop", {"shape": (6, 6)}, r"shape is \(6, 6\); expected at most \(5, 6\), the height and width"),
    ("crop", {"shape": 6, "padding": (0, 1)}, r"shape is \(6, 6\); expected at most \(5, 8\)"),
    ("crop", {"padding": -1}, "padding is -1; expected"),
])  # fmt: skip
def test_numbers_that_are_refused(name, options, match):
    refused(ValueError, match, name, X, **options)


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("u1", 256), ("u1", -1), ("u1", 0.5), ("i8", 2.0**63), (bool, 2), ("f2", 65520), ("V3", 1)],
)
def test_fill_values_that_are_refused(dtype, fill):
    refused(ValueError, "fill is .*; expected a number that", "shift", np.zeros((2, 3, 5, 6), dtype), fill=fill)


@pytest.mark.parametrize(("x", "error", "match"), [
    (np.ones((3, 5, 6)), ValueError, r"x has shape \(3, 5, 6\); expected four axes"),
    (np.ones((2, 3, 5, 6), object), TypeError, "x has dtype object; expected one without Python objects"),
    (None, TypeError, "x is None; expected an array"),
    ([[[[1]]]], TypeError, "x is a list; expected an array"),
    (np.ma.masked_array(X), TypeError, "x is a masked array"),
    (OnDevice(X), fastopt.BackendUnavailable, "x is on a device; expected an array in the host's memory"),
])  # fmt: skip
@pytest.mark.parametrize("name", CALLS)
def test_arrays_that_are_refused(name, x, error, match):
    refused(error, match, name, x)


def test_results_that_would_overwrite_what_is_read():
    memory = np.ones(2 * X.size, np.float32)
    x = memory[: X.size].reshape(X.shape)
    for out in (x, memory[1 : X.size + 1].reshape(X.shape), x[::-1], x[:, :, :, ::-1]):
        refused(ValueError, "out overlaps x in memory; expected arrays that share no element", "flip", x, out=out)
    itself = np.lib.stride_tricks.as_strided(memory, X.shape, (0, 4, 4, 4))
    refused(ValueError, "out overlaps itself", "flip", X, out=itself)
    augment.flip(memory[::2].reshape(X.shape), out=memory[1::2].reshape(X.shape, copy=False), seed=1)


class Meddling:
    """An array by DLPack that frees another one's memory when it is asked for its own."""

    def __init__(self, array, victim):
        self.array, self.victim = array, victim

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        with pytest.raises(ValueError, match="cannot resize"):
            self.victim.resize((1, 1, 1, 1), refcheck=False)
        self.victim.shape = (self.victim.size,)
        return self.array.__dlpack__(**options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arrays_that_change_during_a_call():
    """Memory stays, and another shape of the caller's own array changes nothing."""
    x = images((3, 5, 6), 1)
    wanted, out = plain("flip", x, *KEY.values(), 1), np.empty_like(x)
    augment.flip(x, out=Meddling(out, x), **KEY)
    equal(out, wanted)


# ---- Other libraries' arrays


def test_objects_of_the_buffer_protocol():
    x = images((3, 5, 6), 1, "u1")
    out = bytearray(x.nbytes)
    view = memoryview(out).cast("B", x.shape)
    assert augment.flip(memoryview(x), out=view, **KEY) is view
    assert bytes(out) == plain("flip", x, *KEY.values(), 1).tobytes()


@pytest.mark.peers
def test_tensors_of_pytorch():
    torch = peer("torch")
    x = images((3, 5, 6), 1, "u1")
    out = torch.zeros(x.shape, dtype=torch.uint8)
    version = out._version
    assert augment.flip(torch.from_numpy(x), out=out, **KEY) is out
    assert out._version == version + 1
    equal(out.numpy(), plain("flip", x, *KEY.values(), 1))
    halves = torch.ones(2, 3, 4, 4, dtype=torch.bfloat16)
    assert (augment.flip(halves, seed=1) == 0x3F80).all()


# ---- Documentation


@pytest.mark.parametrize("name", augment.__all__)
def test_documentation(name):
    function = getattr(augment, name)
    documented = inspect.getdoc(function)
    for parameter in inspect.signature(function).parameters:
        assert parameter in documented.split("Raises\n")[0].split("Parameters\n")[1]
    for section in ("Parameters", "Raises", "Notes", "References", "Examples"):
        assert f"{section}\n---" in documented
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_example_of_the_module():
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(augment), {}, "augment", None, None)
    assert doctest.DocTestRunner().run(test).failed == 0
