"""Codecs with numbers that kernels never produce: NaN with every payload."""

from __future__ import annotations

import ctypes
import subprocess

import ml_dtypes
import numpy as np
import pytest

from fastopt.specs.c_header import c_specs
from tests.support import ROOT

PROGRAM = """
#include "core/codecs.c"
void store(int storage, void *to, const void *block, ptrdiff_t n)
{
    ptrdiff_t size = storage == FLOAT32 ? 4 : storage == FLOAT64 ? 8 : 2;
    codec_table[storage].store(&(tile_t){to, 1, n, 0, size}, block);
}
void store_rounded(void *to, const void *block, ptrdiff_t n, uint64_t seed)
{
    codec_table[BFLOAT16].store_rounded(&(tile_t){to, 1, n, 0, 2}, &(tile_t){0, 1, n, 0, 1}, block,
                                        &(noise_t){seed, 1}, 0);
}
enum storage storages[] = {FLOAT32, FLOAT64, FLOAT16, BFLOAT16};
"""

STORED = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@pytest.fixture(scope="module", params=[np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def codecs(request, tmp_path_factory):
    """The codecs of a compute type, compiled by themselves; and the type."""
    folder = tmp_path_factory.mktemp("codecs")
    (folder / "codecs_alone.c").write_text(PROGRAM)
    options = ["-std=c11", "-O2", "-shared", "-fPIC", f"-DCOMPUTE_FLOAT64={int(request.param == np.float64)}"]
    (folder / "fastopt_specs.h").write_text(c_specs())
    include = [f"-I{ROOT / 'fastopt' / 'engine'}", "-I."]
    subprocess.run(["gcc", *options, *include, "-o", "codecs.so", "codecs_alone.c"], check=True, cwd=folder)
    return ctypes.CDLL(str(folder / "codecs.so")), request.param


def nans(dtype):
    """NaN of both signs: each bit of the payload alone, which may be the signal, and all; then the infinities."""
    word, digits = (np.uint32, 23) if dtype == np.float32 else (np.uint64, 52)
    infinity = np.array(np.inf, dtype).view(word)
    payloads = [word(1) << word(bit) for bit in range(digits)] + [(word(1) << word(digits)) - word(1)]
    positive = np.array([*(infinity | payload for payload in payloads), infinity], word).view(dtype)
    return np.concatenate([positive, -positive])


def assert_kept(stored, given):
    assert np.array_equal(np.isnan(stored), np.isnan(given))
    infinite = np.isinf(given)
    assert np.array_equal(stored[infinite].astype(np.float64), given[infinite].astype(np.float64))


@pytest.mark.parametrize("storage", STORED)
def test_a_nan_stays_one_whatever_its_payload(codecs, storage):
    """Cut off, the payload of some would leave an infinity."""
    library, dtype = codecs
    given = np.tile(nans(dtype), 3)
    number = (ctypes.c_int * 4).in_dll(library, "storages")[list(STORED).index(storage)]
    stored = np.zeros(given.size, STORED[storage])
    library.store(
        number, ctypes.c_void_p(stored.ctypes.data), ctypes.c_void_p(given.ctypes.data), ctypes.c_ssize_t(given.size)
    )
    assert_kept(stored, given)


@pytest.mark.parametrize("seed", range(5))
def test_a_nan_stays_one_where_numbers_are_rounded_at_random(codecs, seed):
    library, dtype = codecs
    given = np.tile(nans(dtype), 5)
    stored = np.zeros(given.size, ml_dtypes.bfloat16)
    pointers = (ctypes.c_void_p(array.ctypes.data) for array in (stored, given))
    library.store_rounded(*pointers, ctypes.c_ssize_t(given.size), ctypes.c_uint64(seed))
    assert_kept(stored, given)
