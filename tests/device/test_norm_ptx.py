"""The PTX and machine code of the norms' CUDA kernels, compiled without a device."""

from __future__ import annotations

import re
from functools import cache
from types import SimpleNamespace

import pytest

from fastopt.codegen.cuda.norm_elements import Elements
from fastopt.codegen.cuda.norm_sums import Sums
from fastopt.specs.sums import GROUP
from tests.device.ptx import assert_wide_indices, check, generations, ptx_of
from tests.peers import peer

norm_plan = peer("fastopt.device.norm_plan")
norm_axes = peer("fastopt.device.norm_axes")

BATCH = ("space", "channel", "space", "space")
LAYER = ("outer", "channel")
DIRECTIONS = {
    "forward": (("x", "residual", "out"), ("mean", "rstd", "running_mean", "running_var"), ("weight", "bias")),
    "backward": (("x", "dy", "y", "out", "dresidual"), ("mean", "rstd"), ("weight", "dweight", "dbias")),
    "inference": (("x", "residual", "out"), ("mean", "var"), ("weight", "bias")),
    "backward_inference": (("x", "dy", "y", "out", "dresidual"), ("mean", "var"), ("weight", "dweight", "dbias")),
    "addition": (("x", "residual", "out"), (), ()),
    "addition_backward": (("dy", "y", "out"), (), ()),
}
#: Shape and strides of x: channels first and last, with groups of channels, and samples of features.
ARRAYS = {
    "planes": (BATCH, (32, 64, 56, 56), (200704, 3136, 56, 1)),
    "pixels": (BATCH, (32, 64, 56, 56), (200704, 1, 3584, 64)),
    "grouped": (("outer", "channel", "space", "space"), (32, 64, 56, 56), (200704, 3136, 56, 1)),
    "samples": (LAYER, (4096, 768), (768, 1)),
}


@pytest.fixture(autouse=True)
def processors(monkeypatch):
    """A machine to plan for."""
    machine = SimpleNamespace(threads=lambda wanted, least: wanted, processors=lambda device: 132)
    monkeypatch.setattr(norm_plan, "machine", lambda: machine)
    norm_plan.plan.cache_clear()
    yield
    norm_plan.plan.cache_clear()


def kernels(where, direction, fused=True, storage="float32", dtype="float32"):
    """All kernels of a call, each once."""
    labels, shape, strides = ARRAYS[where]
    labels = ("space",) * len(shape) if direction.startswith("addition") else labels
    like_x, statistics, vectors = DIRECTIONS[direction]
    if not fused:
        like_x = tuple(name for name in like_x if name not in ("residual", "dresidual", "y"))
    statistics = statistics if where in ("planes", "pixels") else statistics[:2]
    given = [norm_axes.Given(name, storage, shape, strides) for name in like_x]
    of_statistics = {"samples": ((shape[0],), (1,)), "grouped": ((32, 8), (8, 1))}.get(where, ((64,), (1,)))
    given += [norm_axes.Given(name, dtype, *of_statistics) for name in statistics]
    given += [norm_axes.Given(name, dtype, (shape[1],), (1,)) for name in vectors]
    groups = {"samples": norm_axes.LAYER, "grouped": 8}.get(where, 64)
    variant = fused * (1 if direction == "addition_backward" else 3)  # which passes one gradient on, not two
    norm = norm_axes.Norm(direction, variant, dtype, labels, groups, tuple(given), 0, True)
    return list(dict.fromkeys(launch.kernel for launch in norm_plan.plan(norm).launches))


def operations(text):
    """What is done in float64, loads and stores apart."""
    return set(re.findall(r"\b(?:add|sub|mul|div|fma|sqrt|rcp|neg|abs|min|max)\b(?=\S*\.f64)", text))


def most_registers(kernel, generation):
    """As many as leave a multiprocessor 1,024 threads; docs/cuda.md tells of the exceptions."""
    if getattr(kernel, "mapping", "") == "single":
        return 80 if generation < (10, 0) else 130
    return 64 if kernel.dtype == "float32" else 80


@cache
def check_norm(kernel, generation):
    text = check(kernel, generation, most_registers(kernel, generation))
    storages = {storage for _, storage in kernel.pointers}
    if storages <= {"float32", "float64"}:  # of others, bits are taken apart in 32
        assert_wide_indices(text)
    if kernel.dtype == "float64":
        return
    if isinstance(kernel, Elements):
        assert ".f64" not in text, f"float64 in {kernel.name}"
    elif isinstance(kernel, Sums) and not kernel.wide:
        assert operations(text) == {"add"}, f"more float64 in {kernel.name} than sums of groups"


@generations
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("where", ["planes", "pixels", "grouped"])
def test_norms_over_space(where, direction, generation):
    for kernel in [*kernels(where, direction, fused=False), *kernels(where, direction)]:
        check_norm(kernel, generation)


@generations
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_layer_norm(direction, generation):
    for kernel in [*kernels("samples", direction, fused=False), *kernels("samples", direction)]:
        check_norm(kernel, generation)


@generations
@pytest.mark.parametrize(("storage", "dtype"), [("bfloat16", "float32"), ("float64", "float64")])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("where", ["planes", "pixels", "samples"])
def test_storages(where, direction, storage, dtype, generation):
    for kernel in kernels(where, direction, storage=storage, dtype=dtype):
        check_norm(kernel, generation)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_float16(direction):
    for kernel in kernels("planes", direction, storage="float16"):
        check_norm(kernel, (9, 0))


#: Of a row's parameters, or a column's; of a thread's elements, loads and stores of each; how many elements it has.
ON_PAPER = {
    ("planes", "forward"): ((5, 1, 1, 4), (5, 2, 1, 4)),
    ("planes", "inference"): ((5, 1, 1, 4), (5, 2, 1, 4)),
    ("planes", "backward"): ((5, 2, 1, 4), (5, 3, 2, 2)),
    ("planes", "backward_inference"): ((2, 1, 1, 4), (2, 2, 2, 2)),
    ("samples", "forward"): ((3, 3, 1, 4), (3, 4, 1, 4)),
    ("samples", "backward"): ((4, 3, 1, 4), (4, 4, 2, 2)),
}
ON_PAPER.update(
    {("pixels", direction): numbers for (where, direction), numbers in ON_PAPER.items() if where == "planes"}
)


@pytest.mark.parametrize("fused", [False, True], ids=["alone", "fused"])
@pytest.mark.parametrize(("where", "direction"), ON_PAPER)
def test_each_element_is_loaded_and_stored_once(where, direction, fused):
    """Parameters, and of each of a thread's elements what the formula takes; of sums, what the function takes.

    The text may be there twice: for sizes of 32 bits, the compiler knows a faster division. What is left of a group of
    8 is a loop, or 7 elements one after the other.
    """
    own, loads, stores, elements = ON_PAPER[where, direction][fused]
    for kernel in kernels(where, direction, fused):
        text = ptx_of(kernel, (9, 0))
        loaded, stored = (len(re.findall(rf"\b{what}\.global", text)) for what in ("ld", "st"))
        if isinstance(kernel, Elements):
            times = stored / (elements * stores)
            assert times in (1, 2)
            assert loaded == times * (own + elements * loads)
        elif isinstance(kernel, Sums) and not kernel.wide:
            along = sum(each.along for each in kernel.arrays)
            rest = 7 if kernel.mapping == "single" else 1
            assert loaded == len(kernel.arrays) - along + (GROUP + rest) * along
            assert stored == 2 + (kernel.function == "deviations")
