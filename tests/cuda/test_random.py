"""Random numbers of device arrays: the same bits as on the CPU; new arrays, in place, exact bounds; refusals."""

from __future__ import annotations

import inspect
from types import FunctionType, SimpleNamespace

import numpy as np
import pytest

from fastopt import augment, dropout_backward, dropout_forward, init
from fastopt.backends.cuda import function
from fastopt.backends.cuda.random import draw, draw_one
from fastopt.codegen.cuda.random import Random
from fastopt.codegen.cuda.update import LINEAR
from fastopt.codegen.random import random_rules_of
from fastopt.coefficients import random as random_scalars
from fastopt.device.arrays import DeviceArray
from fastopt.reference.random import INITIAL, INITIAL_MORE, philox
from fastopt.rules import random as random_rules
from tests.cuda.support import BFLOAT16, Exported, OnDevice, on_device
from tests.cuda.test_norms import fetched, refused
from tests.random.test_dropout import SPECIAL
from tests.random.test_random import FILLS, KEY, KNOWN, words
from tests.support import LAYOUTS, assert_same_bits, bits

INITIALISERS = [getattr(init, name) for name in init.__all__]
every_initialiser = pytest.mark.parametrize("function", INITIALISERS, ids=lambda function: function.__name__)
fills = pytest.mark.parametrize("fill", ["normal", "truncated", "uniform"])
directions = pytest.mark.parametrize("function", [dropout_forward, dropout_backward], ids=lambda each: each.__name__)
dtypes = pytest.mark.parametrize("dtype", ["f4", "f8", "f2", BFLOAT16], ids=str)
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)

#: Of dropout, so that some elements are dropped and what is kept is rounded.
OPTIONS = {"p": 0.3, **KEY}


def normal(shape, dtype="f4"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def both(function, memory, what="", **options):
    """Fill two equal arrays, one of them a device's, which is to have the bits of the other, and no more written."""
    there = memory.copy() if memory.base is None else memory
    wanted = memory.copy()
    function(on_device(there), **options)
    function(wanted, **options)
    assert_same_bits({"param": there}, {"param": wanted}, what)


# ---- Bits


@pytest.mark.parametrize(("counter", "key", "wanted"), KNOWN)
def test_known_answers(counter, key, wanted):
    low, high = words(f"{counter} {key}").reshape(3, 2).T
    with np.errstate(over="ignore"):
        assert [int(word) for word in draw(*(low | high << np.uint64(32)))] == words(wanted).tolist()


@pytest.mark.parametrize("place", [2**20, 2**34 - 1, 2**34 + 2, 2**60 + 1, 2**64 - 1])
def test_counters_of_any_size(place):
    tweak, seed = 0x3FEDCBA987654321, 0x123456789ABCDEF0
    with np.errstate(over="ignore"):
        drawn = draw_one(np.uint64(place), np.uint64(tweak), np.uint64(seed))
    assert drawn == word_at(place, tweak, seed)


def word_at(place, tweak, seed):
    """The bits of an element, by the plain formula."""
    halves = [part for number in (place // 4, tweak, seed) for part in (number & 0xFFFFFFFF, number >> 32)]
    return int(philox(np.array(halves[:4], "u8"), np.array(halves[4:], "u8"))[place % 4])


class Written(dict):
    """An array far too large for any memory: what was written, by index."""

    def __setitem__(self, index, value):
        if isinstance(index, slice):
            for k, each in enumerate(value):
                self[int(index.start) + k] = each
        else:
            super().__setitem__(int(index), value)


@pytest.mark.parametrize(("axes", "whole"), [(LINEAR, 0), (LINEAR, 2**60), (2, 0)], ids=["tail", "fours", "strided"])
def test_elements_beyond_32_bits(axes, whole):
    """A kernel itself, by a thread that has counter 2^39 or so; or an element as far on, by its row and column."""
    rule = random_rules_of(inspect.getsource(random_rules), "float64")["uniform_float64"]
    kernel = function(Random(rule, ("float64",), "float64", axes))
    here = {"blockIdx": 2**31 - 5, "blockDim": 256, "threadIdx": 77, "gridDim": 2**31 - 1}
    thread = SimpleNamespace(**{name: SimpleNamespace(x=x) for name, x in here.items()})
    kernel = FunctionType(kernel.__code__, {**kernel.__globals__, "cuda": thread})
    turn, rows = (2**31 - 5) * 256 + 77, 2**37
    seed, tweaks = KEY["seed"], (INITIAL << 56, INITIAL_MORE << 56)
    sizes = (4 * turn + 3, turn + 1, whole) if axes == LINEAR else (turn + 1, rows, 1, 5, 0, rows, 1)
    out = Written()
    with np.errstate(over="ignore"):
        scalars = map(np.float64, random_scalars.uniform("float64", 0.0, 1.0))
        kernel(out, *map(np.uint64, (*sizes, seed, *tweaks)), *scalars)
    at = range(4 * turn, 4 * turn + 3) if axes == LINEAR and not whole else range(4 * turn, 4 * turn + 4)
    places = dict(zip(at, at, strict=True)) if axes == LINEAR else {turn: turn // rows + turn % rows * 5}
    assert out == {index: uniform_at(place, seed, tweaks) for index, place in places.items()}


def uniform_at(place, seed, tweaks):
    """The number of an element, by the plain formula."""
    first, second = (word_at(place, tweak, seed) for tweak in tweaks)
    return ((first >> 5) * 2**26 + (second >> 6)) * 2.0**-53


# ---- Initialisation


@dtypes
@every_initialiser
def test_every_initialiser(function, dtype):
    both(function, np.zeros((5, 7), dtype), **KEY)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@fills
def test_counters_that_are_used_in_part(fill, dtype):
    for size in (0, 1, 2, 3, 4, 5, 63, 66):
        both(FILLS[fill], np.zeros(size, dtype), f"{size} elements", **KEY)


@dtypes
@pytest.mark.parametrize("start", range(9))
def test_elements_that_are_not_aligned(start, dtype):
    """Nothing beside them is written; those that are aligned are written by fours."""
    memory = np.zeros(64, dtype)
    memory = memory[-memory.ctypes.data % 16 // memory.itemsize :]
    for size in (1, 6, 8, 19):
        param = memory[start : start + size]
        memory[:] = 7
        both(init.normal_, param, f"{size} elements from {start} on", **KEY)
        assert (np.delete(memory, np.s_[start : start + size]) == 7).all()


@layouts
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@fills
def test_layouts(fill, dtype, layout):
    for shape in ((), (1,), (7,), (3, 5, 7), (4, 1, 6)):
        memory = layout(np.zeros(shape, dtype))
        wanted = np.zeros(shape, dtype)
        FILLS[fill](on_device(memory), **KEY)
        FILLS[fill](wanted, **KEY)
        assert_same_bits({"param": memory}, {"param": wanted}, str(shape))


@pytest.mark.parametrize("ndim", [9, 32, 64])
def test_many_axes(ndim):
    """None of which merge, as far as they have elements; kernels take any number that NumPy has."""
    shape = (2,) * 7 + (1,) * (ndim - 7)
    memory = np.zeros((4,) * 7 + shape[7:], "f4")[(slice(None, None, 2),) * 7]
    x = normal(shape)
    wanted = np.zeros(shape, "f4")
    init.normal_(on_device(memory), **KEY)
    init.normal_(wanted, **KEY)
    assert_same_bits({"param": memory}, {"param": wanted})
    dropout_forward(on_device(x), out=on_device(memory), **OPTIONS)
    assert_same_bits({"y": memory}, {"y": dropout_forward(x, **OPTIONS)})


# ---- Noise


@layouts
@dtypes
@pytest.mark.parametrize("uniform", [False, True])
def test_noise(uniform, dtype, layout):
    for shape in ((), (1,), (7,), (66,), (3, 5, 7)):
        memory, wanted = layout(normal(shape, dtype)), normal(shape, dtype)
        augment.noise_(on_device(memory), std=0.5, uniform=uniform, **KEY)
        augment.noise_(wanted, std=0.5, uniform=uniform, **KEY)
        assert_same_bits({"x": memory}, {"x": wanted}, str(shape))


@pytest.mark.parametrize("uniform", [False, True])
def test_noise_leaves_nan_and_infinity(uniform):
    memory = np.array([np.nan, np.inf, -np.inf, 1e38] * 3, "f4")
    both(lambda x, **options: augment.noise_(x, std=1e38, uniform=uniform, **options), memory, **KEY)
    assert np.isnan(memory[::4]).all()
    assert (memory[1::4] == np.inf).all()


def test_noise_that_is_too_large():
    memory = np.zeros(3, "f4")
    with pytest.raises(ValueError, match=r"^std is 1e\+39; expected a number that is finite in float32"):
        augment.noise_(on_device(memory), std=1e39, seed=1)
    assert not memory.any()


# ---- Dropout


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mode", ["inverted", "test-time"])
@dtypes
@directions
def test_forms(function, dtype, mode, training):
    x, y = normal((5, 9), dtype), np.zeros((5, 9), dtype)
    out = on_device(y)
    assert function(on_device(x), mode=mode, training=training, out=out, **OPTIONS) is out
    assert_same_bits({"y": y}, {"y": function(x, mode=mode, training=training, **OPTIONS)})


@layouts
def test_arrays_of_one_call_may_differ_in_layout_and_dtype(layout):
    x = normal((4, 5, 3))
    for other in LAYOUTS:
        for dtype in ("f2", "f4", "f8"):
            y, wanted = other(np.zeros(x.shape, dtype)), np.zeros(x.shape, dtype)
            dropout_forward(on_device(layout(x)), out=on_device(y), **OPTIONS)
            dropout_forward(x, out=wanted, **OPTIONS)
            assert_same_bits({"y": y}, {"y": wanted}, f"{other.__name__}, {dtype}")


@layouts
@directions
def test_in_place(function, layout):
    x = layout(normal((6, 7)))
    wanted = function(x, **OPTIONS)
    there = on_device(x)
    assert function(there, out=there, **OPTIONS) is there
    assert_same_bits({"x": x}, {"x": wanted})


@layouts
@directions
def test_p_of_0_is_x_bit_for_bit(function, layout):
    half = np.arange(65536, dtype="u2")[::601].view("f2").reshape(11, 10)
    for x in (np.resize(SPECIAL, (7, 3)), half, half.view("u2").view(BFLOAT16), np.resize(SPECIAL, (7, 2)).view("f8")):
        for options in ({"p": 0}, {"p": 0.7, "training": False}):
            y = np.zeros_like(x)
            function(on_device(layout(x)), seed=1, out=on_device(y), **options)
            assert_same_bits({"y": y}, {"y": x})
    there = on_device(x)
    function(there, p=0, seed=1, out=there)
    assert_same_bits({"x": x}, {"x": y})


@pytest.mark.parametrize("options", [{}, {"mode": "test-time"}, {"mode": "test-time", "training": False}], ids=str)
@dtypes
def test_p_of_1_is_exact_zeros(dtype, options):
    with np.errstate(all="ignore"):
        x = np.resize(SPECIAL, 14).astype(dtype)
    y = np.ones_like(x)
    dropout_forward(on_device(x), p=1.0, seed=1, out=on_device(y), **options)
    assert not bits(y).any()


def test_x_may_be_read_only_or_broadcast():
    x = np.broadcast_to(normal(5), (7, 5))
    y = np.zeros((7, 5), "f4")
    for p in (0.0, 0.3):
        dropout_forward(OnDevice(x), p=p, out=OnDevice(y), **KEY)
        assert_same_bits({"y": y}, {"y": dropout_forward(x.copy(), p=p, **KEY)})


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (7,), (3, 5)], ids=str)
def test_new_arrays(shape, p):
    for dtype in ("f2", "f4", "f8"):
        for order in "CF":
            x = np.asarray(normal(shape, dtype), order=order)
            y = dropout_forward(OnDevice(x), p=p, **KEY)
            assert isinstance(y, DeviceArray)
            made, wanted = fetched(y), dropout_forward(x, p=p, **KEY)
            assert (made.dtype, made.shape) == (wanted.dtype, wanted.shape)
            assert made.size == 0 or made.strides == wanted.strides
            assert_same_bits({"y": made}, {"y": wanted})


# ---- Refusals


@every_initialiser
def test_initialisers_refuse_what_is_elsewhere(function):
    x = np.ones((3, 4), "f4")
    refused(ValueError, "backend is 'numba'; expected None or 'cuda', since param is on a CUDA device", function,
            OnDevice(x), seed=1, backend="numba")  # fmt: skip
    refused(ValueError, "backend is 'reference'; expected None or 'cuda'", function, OnDevice(x), seed=1,
            backend="reference")  # fmt: skip
    refused(ValueError, "backend is 'cuda'; expected another, since param", function, x, seed=1, backend="cuda")
    refused(
        ValueError, "stream is 5; expected None, since param is in the host's memory", function, x, seed=1, stream=5
    )
    refused(TypeError, "stream is 'a', a str; expected", function, OnDevice(x), seed=1, stream="a")
    function(OnDevice(x), seed=1, backend="cuda", stream=5, num_threads=1)


@every_initialiser
def test_initialisers_check_as_on_the_host(function):
    fans = {name: 3 for name in ("fan_in", "fan_out") if name in inspect.signature(function).parameters}
    x = np.ones((3, 4), "f4")
    whole = np.lib.stride_tricks.as_strided(x, (3, 4), (0, 4))
    refused(ValueError, "param overlaps itself", function, OnDevice(whole), seed=1, **fans)
    refused(ValueError, "seed is -1", function, OnDevice(x), seed=-1)
    refused(ValueError, "num_threads is 0", function, OnDevice(x), seed=1, num_threads=0)
    frozen = x.copy()
    frozen.flags.writeable = False
    refused(TypeError, "param is read-only", function, OnDevice(frozen), seed=1)
    refused(TypeError, "param has dtype <i4", function, OnDevice(x.view("i4")), seed=1)


def test_numbers_that_are_too_large():
    refused(ValueError, "std is 1e+39; expected a number that is finite in float32", init.normal_,
            OnDevice(np.ones(3, "f4")), std=1e39, seed=1)  # fmt: skip
    init.normal_(OnDevice(np.ones(3)), std=1e39, seed=1)
    refused(TypeError, "std is a OnDevice on a CUDA device; expected it on the host", init.normal_,
            OnDevice(np.ones(3, "f4")), std=OnDevice(np.ones(())), seed=1)  # fmt: skip


@pytest.mark.parametrize(("function", "name"), [(dropout_forward, "x"), (dropout_backward, "dy")])
def test_dropout_refuses_what_is_elsewhere(function, name):
    x, y = np.ones((3, 4), "f4"), np.ones((3, 4), "f4")
    here, there = "in the host's memory", "on CUDA device"
    for options in ({"p": 0.5}, {"p": 0.0}):
        refused(ValueError, f"out is {here}; expected it {there} 0, where {name} is", function, OnDevice(x), seed=1,
                out=y, **options)  # fmt: skip
        refused(ValueError, f"out is {there} 0; expected it {here}, where {name} is", function, x, seed=1,
                out=OnDevice(y), **options)  # fmt: skip
        refused(ValueError, f"out is {there} 1; expected it {there} 0, where {name} is", function, OnDevice(x), seed=1,
                out=Exported(y, 1), **options)  # fmt: skip
    refused(ValueError, f"backend is 'cython'; expected None or 'cuda', since {name} is on", function, OnDevice(x),
            seed=1, backend="cython")  # fmt: skip
    refused(ValueError, f"stream is 5; expected None, since {name} is in", function, x, seed=1, stream=5)
    refused(TypeError, f"out is None; expected an array for it in out, since {name} is a Exported", function,
            on_device(x.astype(BFLOAT16)), seed=1)  # fmt: skip
    assert (y == 1).all()
    function(OnDevice(x), seed=1, backend="cuda", stream=5, num_threads=1)


@directions
def test_dropout_checks_as_on_the_host(function):
    memory = np.ones(40, "f4")
    x = OnDevice(memory[:20])
    frozen = np.ones(20, "f4")
    frozen.flags.writeable = False
    repeated = np.lib.stride_tricks.as_strided(memory[20:], (20,), (0,))
    for p in (0.0, 0.5):
        for out in (memory[4:24], memory[:20][::-1]):
            refused(ValueError, "out overlaps", function, x, p=p, seed=1, out=OnDevice(out))
        refused(ValueError, "out has shape (5,); expected (20,)", function, x, p=p, seed=1, out=OnDevice(memory[20:25]))
        refused(TypeError, "out is read-only", function, x, p=p, seed=1, out=OnDevice(frozen))
        refused(ValueError, "out overlaps itself", function, x, p=p, seed=1, out=OnDevice(repeated))
