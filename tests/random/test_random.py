"""Random bits: Philox as published, and the same bits for an element in any call."""

from __future__ import annotations

import ctypes
import subprocess
from math import inf, sqrt

import numpy as np
import pytest
from scipy import special

from fastopt import augment, dropout_forward, init
from fastopt.backends import load_kernel
from fastopt.coefficients import random as random_scalars
from fastopt.reference import random as random_reference
from fastopt.reference.random import DROPOUT, INITIAL, bits, philox
from fastopt.specs.c_header import c_specs
from tests.support import ROOT, assert_same_bits

#: Of the authors' library, Random123: counter, key, and what becomes of them.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return np.array([int(word, 16) for word in text.split()], np.uint64)


@pytest.mark.parametrize(("counter", "key", "wanted"), KNOWN)
def test_known_answers(counter, key, wanted):
    assert (philox(words(counter), words(key)) == words(wanted)).all()


def test_a_known_answer_in_an_array():
    """Seed and offset make the third's key, and what its counter has behind an element's place."""
    seed, offset = 0x299F31D0A4093822, 0x70734413198A2E
    counter = words(f"00000000 00000000 13198a2e {DROPOUT:02x}707344")
    wanted = philox(counter, words("a4093822 299f31d0"))
    assert (bits((4,), seed, offset, DROPOUT) == wanted).all()
    for element, word in enumerate(wanted):
        p = (int(word) >> 8) / 2**24
        for dropped, q in ((False, p), (True, p + 2.0**-24)):
            y = dropout_forward(np.ones(4, "f4"), p=q, seed=seed, offset=offset)
            assert (y[element] == 0) == dropped


KEY = {"seed": 0x123456789ABCDEF0, "offset": 0x00FEDCBA98765432}

PROGRAM = """
#define COMPUTE_FLOAT64 0
#include "core/codecs.c"
#include "core/draw.c"
void draw(uint64_t place, ptrdiff_t stride, uint64_t seed, uint64_t offset, uint32_t *bits)
{
    tile_t places = {(char *)(uintptr_t)place, 1, 1000, 0, stride};
    source_t source = {seed, offset, DROPOUT};
    draw_bits(&places, &source, bits);
}
"""


@pytest.fixture(scope="module")
def draw(tmp_path_factory):
    """What draws bits, compiled by itself: for places that no array has which fits into memory."""
    folder = tmp_path_factory.mktemp("draw")
    (folder / "draw_alone.c").write_text(PROGRAM)
    (folder / "fastopt_specs.h").write_text(c_specs())
    include = [f"-I{ROOT / 'fastopt' / 'engine'}", "-I."]
    command = ["gcc", "-std=c11", "-O1", "-shared", "-fPIC", *include, "-o", "draw.so", "draw_alone.c"]
    subprocess.run(command, check=True, cwd=folder)
    function = ctypes.CDLL(str(folder / "draw.so")).draw
    function.argtypes = [ctypes.c_uint64, ctypes.c_ssize_t, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p]
    function.restype = None
    return function


@pytest.mark.parametrize("stride", [1, 3, -5])
@pytest.mark.parametrize("place", [2**20, 2**34 - 500, 2**34 + 3, 2**60 + 1])
def test_counters_of_any_size(draw, place, stride):
    seed, offset = KEY.values()
    got = np.empty(1000 + 4 * 64, np.uint32)
    draw(place, stride, seed, offset, got.ctypes.data)
    for i in (0, 1, 2, 3, 4, 499, 500, 501, 999):
        at = place + i * stride
        counter = np.array(
            [at // 4 & 0xFFFFFFFF, at // 4 >> 32, offset & 0xFFFFFFFF, offset >> 32 | DROPOUT << 24], "u8"
        )
        key = np.array([seed & 0xFFFFFFFF, seed >> 32], "u8")
        assert got[i] == philox(counter, key)[at % 4]


FILLS = {
    "normal": lambda param, **options: init.normal_(param, mean=0.5, std=2.0, **options),
    "truncated": lambda param, **options: init.truncated_normal_(param, mean=0.5, std=2.0, bound=1.5, **options),
    "uniform": lambda param, **options: init.uniform_(param, low=-0.5, high=2.0, **options),
    "dropout": lambda param, **options: dropout_forward(ramp(param), p=0.4, out=param, **options),
    "dropout in place": lambda param, **options: dropout_forward(filled(param), p=0.4, out=param, **options),
    "noise": lambda param, **options: augment.noise_(filled(param), std=2.0, **options),
    "uniform noise": lambda param, **options: augment.noise_(filled(param), std=2.0, uniform=True, **options),
}
DTYPES = ["float32", "float64", "float16"]

fills = pytest.mark.parametrize("fill", FILLS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def ramp(param):
    return (np.arange(param.size) % 1000 + 1).astype(param.dtype).reshape(param.shape)


def filled(param):
    param[...] = ramp(param)
    return param


def made(fill, shape, dtype, layout=np.copy, **options):
    param = layout(np.zeros(shape, dtype))
    FILLS[fill](param, **KEY, **options)
    return {"param": param}


@dtypes
@fills
def test_a_part_does_not_depend_on_the_rest(fill, dtype):
    whole = made(fill, 5000, dtype)["param"]
    for n in (0, 1, 2, 3, 5, 1023, 1025, 4097):
        assert_same_bits(made(fill, n, dtype), {"param": whole[:n]}, str(n))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_bits_are_those_of_the_formula(dtype):
    param = np.empty((41, 103), dtype)
    init.uniform_(param, **KEY)
    wanted = random_reference.uniform(param.shape, dtype, *KEY.values(), 0.0, 1.0)
    assert_same_bits({"param": param}, {"param": wanted.astype(dtype)})
    assert param.max() < 1


@pytest.mark.parametrize("bound", [inf, 2.0, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 6e-7), ("float64", 1e-14)])
def test_normals_are_those_of_the_formula(dtype, tolerance, bound):
    param = np.empty(200_000, dtype)
    if bound == inf:
        init.normal_(param, std=1.0, **KEY)
    else:
        init.truncated_normal_(param, std=1.0, bound=bound, **KEY)
    wanted = random_reference.normal(param.shape, dtype, *KEY.values(), 0.0, 1.0, bound)
    # Of a number near 0, the reference has no more digits than of the probability, near 1/2.
    assert np.all(abs(param - wanted) <= tolerance * abs(wanted) + 1e-15)


@pytest.mark.parametrize("bound", [inf, 6.0, 5.2, 3.5, 2.0])
@pytest.mark.parametrize("sign", [0, 1])
def test_normals_far_out(bound, sign):
    """Bits that are seldom drawn, given to the kernel: up to the largest number there is."""
    distance = np.unique(np.geomspace(1, 2**31, 20_000).astype(np.int64))
    magnitude = (2**31 - distance).astype(np.uint32)
    drawn = magnitude | np.uint32(sign << 31)
    param = np.empty(drawn.size, np.float32)
    scalars = np.array(random_scalars.normal("float32", 0.0, 1.0, bound), np.float32)
    address = load_kernel("cython", "random", "normal_float32", "float32")
    arrays = (ctypes.c_void_p * 2)(param.ctypes.data, drawn.ctypes.data)
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)(address)
    kernel(arrays, drawn.size, scalars.ctypes.data)
    y = special.erfc(bound / sqrt(2)) + special.erf(bound / sqrt(2)) * (distance - 0.5) * 2.0**-31
    wanted = sqrt(2) * special.erfcinv(y) * (-1 if sign else 1)
    assert np.all(abs(param - wanted) <= 6e-7 * abs(wanted))
    assert abs(param).max() < min(6.34, bound + 1e-6)


def test_float64_has_more_of_the_same():
    for fill in ("normal", "truncated", "uniform"):
        narrow, wide = (made(fill, 10_000, dtype)["param"] for dtype in ("float32", "float64"))
        assert abs(narrow - wide).max() < 2e-6
        assert np.all(wide != wide.astype("f4"))


def test_16_bits_are_float32_rounded():
    """But for uniform numbers that would round to high, 2: they become the number below."""
    for fill in ("normal", "truncated", "uniform"):
        half, narrow = (made(fill, 10_000, dtype)["param"] for dtype in ("float16", "float32"))
        rounded = narrow.astype("f2")
        if fill == "uniform":
            assert rounded.max() == 2
            rounded = np.minimum(rounded, np.nextafter(np.float16(2), np.float16(0)))
        assert_same_bits({"param": half}, {"param": rounded})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_is_that_of_the_formula(dtype):
    x = np.random.default_rng(0).standard_normal((300, 77)).astype(dtype)
    for p in (0.0, 1e-9, 0.3, 0.5, 1 - 1e-9, 1.0):
        y = dropout_forward(x, p=p, mode="test-time", **KEY)
        assert_same_bits({"y": y}, {"y": random_reference.dropout(x, p, 1.0, *KEY.values()).astype(dtype)}, str(p))


def test_what_differs_gives_other_bits():
    """Seed, offset and purpose: also in the bits that are the highest."""
    keys = [(0, 0), (1, 0), (1 << 32, 0), (1 << 63, 0), (0, 1), (0, 1 << 32), (0, (1 << 56) - 1)]
    drawn = [bits((1000,), *key, purpose) for key in keys for purpose in (INITIAL, DROPOUT)]
    for i, first in enumerate(drawn):
        for second in drawn[:i]:
            assert np.count_nonzero(first == second) == 0
            agreeing = np.mean([(first >> bit & 1 == second >> bit & 1).mean() for bit in np.arange(32, dtype="u8")])
            assert abs(agreeing - 0.5) < 0.02
