"""The PTX and machine code of the CUDA kernels of random bits, compiled without a device."""

from __future__ import annotations

import inspect
import re

import pytest

from fastopt.codegen.cuda.random import COPY, Random
from fastopt.codegen.cuda.update import LINEAR
from fastopt.codegen.random import random_rules_of
from fastopt.rules import random as random_rules
from fastopt.specs.random import BITS
from tests.device.ptx import check, contractible, cuda, generations, ptx_of

RULES = {
    (name, dtype): rule
    for dtype in ("float32", "float64")
    for name, rule in random_rules_of(inspect.getsource(random_rules), dtype).items()
}
every_rule = pytest.mark.parametrize(("rule", "dtype"), RULES)
shapes = pytest.mark.parametrize("axes", [LINEAR, 2], ids=["linear", "strided"])

#: As many as leave a multiprocessor 1,024 threads; of normal numbers of float64, 768, whose arithmetic takes longer.
MOST_REGISTERS = {"normal_float64": 80, "noise_float64": 88}

#: Products of a counter's ten rounds.
PRODUCTS = 20


def kernel_of(rule, dtype, axes, storage=None):
    function = RULES[rule, dtype]
    arrays = 1 + sum(name not in BITS for name in function.arrays)
    return Random(function, (storage or dtype,) * arrays, dtype, axes)


@generations
@shapes
@every_rule
def test_every_kernel(rule, dtype, axes, generation):
    kernel = kernel_of(rule, dtype, axes)
    text = check(kernel, generation, MOST_REGISTERS.get(rule, 64))
    assert (".f64" in text) == (dtype == "float64")
    assert (("div.rn.ftz.f32" in text) or ("div.rn.f64" in text)) == rule.startswith(("normal", "noise"))
    assert_products(text, PRODUCTS * len(kernel.bits), axes)


def assert_products(text, drawn, axes):
    """All are of 32 bits by 32. Beside those of the rounds, there may be one for a first index, and one for a step.

    Strided, the loop may be there twice: a quotient by an extent of 0 would be another.
    """
    found = len(re.findall(r"\bmul\.wide\.u32", text))
    assert drawn <= found <= drawn * (1 if axes == LINEAR else 2) + 2
    assert "mul.hi" not in text


@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
@shapes
@pytest.mark.parametrize("rule", ["normal_float32", "dropout"])
def test_16_bits(rule, axes, storage):
    for generation in ((7, 5), (10, 0)):
        assert ".f64" not in check(kernel_of(rule, "float32", axes, storage), generation)


@shapes
@pytest.mark.parametrize("storage", ["float16", "float32", "float64"])
def test_a_copy_computes_nothing(storage, axes):
    """No operation on numbers: any could make a NaN quiet, or flush what is subnormal."""
    text = check(Random(COPY, (storage, storage), storage, axes), (9, 0))
    operations = re.findall(r"^\s*(\w+)(?:\.\w+)*\.f(?:16|32|64)\b", text, re.M)
    assert set(operations) <= {"ld", "st", "mov"}


@pytest.mark.parametrize(("storage", "vector", "count"), [
    ("float32", "v4.f32", 1), ("float64", "v2.f64", 2), ("float16", "v4.u16", 1), ("bfloat16", "v4.u16", 1),
])  # fmt: skip
def test_four_elements_are_loaded_and_stored_at_once(storage, vector, count):
    """And one by one where they are not aligned, or fewer."""
    text = ptx_of(kernel_of("dropout", "float64" if storage == "float64" else "float32", LINEAR, storage), (9, 0))
    for what in ("ld", "st"):
        found = re.findall(rf"\b{what}\.global\.(\S+)", text)
        assert sorted(found) == sorted([vector] * count + [vector.partition(".")[2]] * 4)


@every_rule
@shapes
def test_indices_have_64_bits(rule, dtype, axes):
    """But quotients of numbers that have no more than 32, and their remainders."""
    text = ptx_of(kernel_of(rule, dtype, axes), (9, 0))
    assert re.search(r"setp\.(?:ge|lt)\.u64", text)
    products = re.findall(r"\b(?:mul|mad)\.lo\.[su]32", text)
    assert len(products) == len(re.findall(r"\bdiv\.u32", text)) == (axes != LINEAR)


def test_a_contraction_would_be_found(monkeypatch):
    monkeypatch.setattr(cuda, "LINK_OPTIONS", ("-lto",))
    assert contractible(cuda.ptx(kernel_of("normal_float32", "float32", LINEAR), (9, 0)))
