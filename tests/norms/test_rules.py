"""The text of the norms' rules, and the code generated from it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from fastopt.codegen.cython.norm import norm_module
from fastopt.codegen.numba.norm import tile_kernel_module
from fastopt.codegen.parse import parse_functions
from fastopt.rules import norm as norm_rules
from fastopt.specs.norms import MAX_PARAMETERS, TILE_KERNELS
from tests.updates.test_rules import doubles_in, offences

SOURCE = inspect.getsource(norm_rules)
FUNCTIONS = parse_functions(SOURCE)


def test_norms_hold_no_literal_and_no_flag():
    assert offences(SOURCE, *FUNCTIONS) == []


@pytest.mark.parametrize("kernel", TILE_KERNELS, ids=lambda kernel: kernel.name)
def test_every_parameter_of_a_kernel_varies_along_an_axis(kernel):
    function = FUNCTIONS[kernel.function]
    assert len(kernel.along) == len(function.scalars) <= MAX_PARAMETERS
    returned = getattr(norm_rules, kernel.function)(*(1.5 for _ in function.arrays + function.scalars))
    assert np.size(returned) == (2 if kernel.reduces else 1)


@pytest.mark.parametrize("storage", ["float32", "float64", "bfloat16"])
def test_the_bodies_are_compiled_verbatim(storage):
    text = norm_module(SOURCE, storage)
    for function in FUNCTIONS.values():
        for line in function.body.splitlines():
            assert f"    {line}\n" in text, function.name


ELEMENTS = [kernel for kernel in TILE_KERNELS if not kernel.reduces]


@pytest.mark.ci
@pytest.mark.parametrize("kernel", ELEMENTS, ids=lambda kernel: kernel.name)
def test_float32_elements_are_computed_in_float32(kernel):
    for variant in kernel.variants:
        assert not doubles_in(tile_kernel_module(SOURCE, kernel.name, variant, "float32"))
