"""Helpers for the PTX and machine code of CUDA kernels, without a device, and properties of all kernels."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from tests.peers import peer

peer("numba_cuda")
cuda = peer("fastopt.backends.cuda")

#: Turing, Ampere, Hopper and Blackwell.
GENERATIONS = [(7, 5), (8, 0), (9, 0), (10, 0)]
generations = pytest.mark.parametrize("generation", GENERATIONS, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")


@cache
def ptx_of(kernel, generation):
    text = cuda.ptx(kernel, generation)
    assert re.search(rf"\.target sm_{generation[0]}{generation[1]}\b", text)
    return re.sub(r"//.*", "", text)


def contractible(text):
    """Operations that the assembler may fuse, or that are fused; with a rounding in their names they are not."""
    return re.findall(r"\b(?:(?:mul|add|sub)(?:\.ftz)?\.f(?:32|64)|fma\.\S+)", text)


def resources(kernel, generation):
    """Registers, and bytes of the stack and of spills, as the assembler in nvJitLink reports them."""
    _, log = cuda.link(kernel, generation, "-Xptxas=-v", "-verbose")
    (registers,) = re.findall(r"Used (\d+) registers", log)
    return int(registers), sum(map(int, re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", log)))


def check(kernel, generation, most_registers=64):
    """What holds of every kernel; its PTX is returned."""
    text = ptx_of(kernel, generation)
    assert contractible(text) == []
    assert ".local" not in text
    assert not re.search(r"\b(?:atom|red)\.", text)
    assert not re.search(r"(?:div|sqrt)\.(?!rn)\S*f32", text)
    # A root flushes nothing by itself; but its operand comes from operations that do.
    assert not re.search(r"\b(?:mul|add|sub|div)\.rn\.f32", text), "subnormal numbers are not flushed"
    registers, stack = resources(kernel, generation)
    assert registers <= most_registers, f"{kernel.name} takes {registers} registers"
    assert stack == 0
    return text


def assert_wide_indices(text):
    """Nothing is computed in 32 bits but quotients of numbers that have no more, and their remainders."""
    done = Counter(re.findall(r"\b((?:mul|mad|add|sub|shl|div)(?:\.lo)?)\.[sub]32\b", text))
    assert done["mul.lo"] == done["sub"] <= done["div"]
    assert set(done) <= {"mul.lo", "sub", "div"}
