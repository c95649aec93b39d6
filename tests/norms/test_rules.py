"""The text of the norms, and that the generators and the engine mean the same by it."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

from fastopt.codegen import norm as norm_text
from fastopt.codegen.cython.norm import norm_module
from fastopt.codegen.numba.norm import tile_kernel_module
from fastopt.codegen.parse import parse_functions
from fastopt.rules import norm as norm_rules
from tests.support import ROOT
from tests.updates.test_rules import doubles_in, offences

SOURCE = inspect.getsource(norm_rules)
FUNCTIONS = parse_functions(SOURCE)
HEADER = (ROOT / "fastopt" / "engine" / "norm" / "tile_kernel.h").read_text()
TREE = (ROOT / "fastopt" / "engine" / "core" / "sum_tree.h").read_text()


def enum(name: str) -> list[str]:
    """The names of an enum in tile_kernel.h, in order."""
    (members,) = re.findall(rf"enum {name} {{(.*?)}};", HEADER, flags=re.DOTALL)
    return [member.split("=")[0].strip() for member in members.split(",") if member.strip()]


def test_norms_hold_no_literal_and_no_flag():
    assert offences(SOURCE, *FUNCTIONS) == []


def test_the_engine_has_the_same_kernels():
    kernels = enum("tile_kernel")
    assert kernels == [kernel.name.upper() for kernel in norm_text.TILE_KERNELS] + ["TILE_KERNELS"]


def test_the_engine_has_the_same_arrays_and_sizes():
    slots = enum("slot")
    assert slots[: slots.index("ARRAYS")] == [name.upper() for name in norm_text.ARRAYS]
    assert slots.index("ARRAYS") == norm_text.PARAMETER
    assert f"SUM = PARAMETER + {norm_text.SUM - norm_text.PARAMETER}," in HEADER
    assert f"WORK = SUM + {norm_text.WORK - norm_text.SUM}," in HEADER
    assert enum("size")[:3] == ["TILE_ROWS", "TILE_COLUMNS", "STEP"]
    assert (norm_text.TILE_ROWS, norm_text.TILE_COLUMNS, norm_text.STEP) == (0, 1, 2)
    assert "SUM_STEP = STEP + ARRAYS, NONTEMPORAL, AHEAD, SIZES = AHEAD + ARRAYS }" in HEADER
    behind = norm_text.STEP + len(norm_text.ARRAYS)
    assert (behind, behind + 1, behind + 2) == (norm_text.SUM_STEP, norm_text.NONTEMPORAL, norm_text.AHEAD)
    assert f"#define GROUP {norm_text.GROUP} " in TREE
    assert f"#define LANES {norm_text.LANES} " in TREE
    assert f"#define STRIPE {norm_text.STRIPE} " in HEADER


@pytest.mark.parametrize("kernel", norm_text.TILE_KERNELS, ids=lambda kernel: kernel.name)
def test_every_parameter_of_a_kernel_varies_along_an_axis(kernel):
    function = FUNCTIONS[kernel.function]
    assert len(kernel.along) == len(function.scalars) <= norm_text.SUM - norm_text.PARAMETER
    returned = getattr(norm_rules, kernel.function)(*(1.5 for _ in function.arrays + function.scalars))
    assert np.size(returned) == (2 if kernel.reduces else 1)


@pytest.mark.parametrize("storage", ["float32", "float64", "bfloat16"])
def test_the_bodies_are_compiled_verbatim(storage):
    text = norm_module(SOURCE, storage)
    for function in FUNCTIONS.values():
        for line in function.body.splitlines():
            assert f"    {line}\n" in text, function.name


ELEMENTS = [kernel for kernel in norm_text.TILE_KERNELS if not kernel.reduces]


@pytest.mark.ci
@pytest.mark.parametrize("kernel", ELEMENTS, ids=lambda kernel: kernel.name)
def test_float32_elements_are_computed_in_float32(kernel):
    for variant in kernel.variants:
        assert not doubles_in(tile_kernel_module(SOURCE, kernel.name, variant, "float32"))
