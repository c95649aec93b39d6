"""The PTX and machine code of the CUDA kernels of feature scaling, compiled without a device."""

from __future__ import annotations

import re

import pytest

from fastopt.codegen.cuda.scaling import (
    GATHERED,
    JOINED,
    SCALED,
    VALUES,
    ColumnStats,
    First,
    Join,
    NonfiniteProbe,
    Scale,
)
from tests.device.ptx import assert_wide_indices, check, contractible, cuda, generations, ptx_of

KINDS = {
    "scale": lambda storage, dtype: Scale((storage, storage), dtype),
    "nonfinite_probe": lambda storage, dtype: NonfiniteProbe((storage,), dtype),
    "first": lambda storage, dtype: First((storage,), dtype, True),
    "first that is not": lambda storage, dtype: First((storage,), dtype, False),
    "column_stats": lambda storage, dtype: ColumnStats((storage,), dtype),
    "join": lambda storage, dtype: Join((), "float64"),
}
STORED = [("float32", "float32"), ("float64", "float64"), ("float16", "float32"), ("bfloat16", "float32")]
kinds = pytest.mark.parametrize("kind", KINDS)
stored = pytest.mark.parametrize(("storage", "dtype"), STORED, ids=[storage for storage, _ in STORED])


def kernel_of(kind, storage="float32", dtype="float32"):
    return KINDS[kind](storage, dtype)


@generations
@stored
@kinds
def test_every_kernel(kind, storage, dtype, generation):
    """Computed in float64 is what is gathered, and nothing else of float32."""
    text = check(kernel_of(kind, storage, dtype), generation)
    arithmetic = re.findall(r"\b(?:add|sub|mul|div)\.rn\.f64", text)
    assert bool(arithmetic) == (kind in ("column_stats", "join") or dtype == "float64")
    if kind == "scale":
        assert ("div.rn.ftz.f32" if dtype == "float32" else "div.rn.f64") in text
    shares = kind.startswith("first") and generation >= (10, 0)  # with addresses of 32 bits, which are added up there
    if storage == dtype and not shares:  # of others, bits are taken apart in 32
        assert_wide_indices(text)


def test_subnormal_numbers_are_flushed_before_they_are_widened():
    """As the host's conversions have it."""
    conversions = re.findall(r"\bcvt\.\S*f64\.f32", ptx_of(kernel_of("column_stats"), (9, 0)))
    assert conversions
    assert all(".ftz" in conversion for conversion in conversions)


#: How many are under way at a time.
LOADS = {"scale": SCALED, "nonfinite_probe": SCALED, "column_stats": GATHERED, "join": JOINED * len(VALUES)}


@pytest.mark.parametrize("kind", LOADS)
def test_elements_are_asked_for_before_the_first_is_used(kind):
    text = ptx_of(kernel_of(kind), (9, 0))
    first_use = re.search(r"\b(?:sub|add)(?:\.rn)?(?:\.ftz)?\.f(?:32|64)|\bcvt\.\S*f64\.f32", text).start()
    assert len(re.findall(r"\bld\.global", text[:first_use])) >= LOADS[kind]


def test_a_contraction_would_be_found(monkeypatch):
    monkeypatch.setattr(cuda, "LINK_OPTIONS", ("-lto",))
    assert contractible(cuda.ptx(kernel_of("column_stats"), (9, 0)))
