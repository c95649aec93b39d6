"""The text of the norms, and that the generators and the engine mean the same by it."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

from fastopt.codegen import norm as panel_text
from fastopt.codegen.cython.norm import panels_module
from fastopt.codegen.numba.norm import panel_module
from fastopt.codegen.parse import parse_functions
from fastopt.rules import norm as norm_rules
from tests.support import ROOT
from tests.updates.test_rules import doubles_in, offences

SOURCE = inspect.getsource(norm_rules)
FUNCTIONS = parse_functions(SOURCE)
HEADER = (ROOT / "fastopt" / "engine" / "norm" / "panel.h").read_text()


def enum(name: str) -> list[str]:
    """The names of an enum in panel.h, in order."""
    (members,) = re.findall(rf"enum {name} {{(.*?)}};", HEADER, flags=re.DOTALL)
    return [member.split("=")[0].strip() for member in members.split(",") if member.strip()]


def test_norms_hold_no_literal_and_no_flag():
    assert offences(SOURCE, *FUNCTIONS) == []


def test_the_engine_has_the_same_kernels():
    kernels = enum("panel_kernel")
    assert kernels == [panel.name.upper() for panel in panel_text.PANELS] + ["PANEL_KERNELS"]


def test_the_engine_has_the_same_arrays_and_sizes():
    slots = enum("slot")
    assert slots[: slots.index("ARRAYS")] == [name.upper() for name in panel_text.ARRAYS]
    assert slots.index("ARRAYS") == panel_text.PARAMETER
    assert f"SUM = PARAMETER + {panel_text.SUM - panel_text.PARAMETER}," in HEADER
    assert f"WORK = SUM + {panel_text.WORK - panel_text.SUM}," in HEADER
    assert enum("size")[:3] == ["ROWS", "COLUMNS", "STEP"]
    assert (panel_text.ROWS, panel_text.COLUMNS, panel_text.STEP) == (0, 1, 2)
    assert "SUM_STEP = STEP + ARRAYS, PAST, AHEAD, SIZES = AHEAD + ARRAYS }" in HEADER
    behind = panel_text.STEP + len(panel_text.ARRAYS)
    assert (behind, behind + 1, behind + 2) == (panel_text.SUM_STEP, panel_text.PAST, panel_text.AHEAD)
    assert f"#define GROUP {panel_text.GROUP} " in HEADER
    assert f"#define LANES {panel_text.LANES} " in HEADER
    assert f"#define STRIPE {panel_text.STRIPE} " in HEADER


@pytest.mark.parametrize("panel", panel_text.PANELS, ids=lambda panel: panel.name)
def test_every_parameter_of_a_kernel_varies_along_an_axis(panel):
    function = FUNCTIONS[panel.function]
    assert len(panel.along) == len(function.scalars) <= panel_text.SUM - panel_text.PARAMETER
    returned = getattr(norm_rules, panel.function)(*(1.5 for _ in function.arrays + function.scalars))
    assert np.size(returned) == (2 if panel.sums else 1)


@pytest.mark.parametrize("storage", ["float32", "float64", "bfloat16"])
def test_the_bodies_are_compiled_verbatim(storage):
    text = panels_module(SOURCE, storage)
    for function in FUNCTIONS.values():
        for line in function.body.splitlines():
            assert f"    {line}\n" in text, function.name


ELEMENTS = [panel for panel in panel_text.PANELS if not panel.sums]


@pytest.mark.parametrize("panel", ELEMENTS, ids=lambda panel: panel.name)
def test_float32_elements_are_computed_in_float32(panel):
    for form in panel.forms:
        assert not doubles_in(panel_module(SOURCE, panel.name, form, "float32"))
