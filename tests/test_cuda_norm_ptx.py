"""What becomes of the norms' CUDA kernels: their PTX and machine code, for which no device is needed."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from tests.peers import peer
from tests.ptx import GENERATIONS, check, cuda, ptx_of

norm_plan = peer("fastopt.device.norm_plan")
norm_axes = peer("fastopt.device.norm_axes")

BATCH = ("space", "channel", "space", "space")
LAYER = ("outer", "channel")
DIRECTIONS = {
    "forward": (("x", "residual", "out"), ("mean", "rstd", "running_mean", "running_var"), ("weight", "bias")),
    "backward": (("x", "dy", "y", "out", "dresidual"), ("mean", "rstd"), ("weight", "dweight", "dbias")),
    "inference": (("x", "residual", "out"), ("mean", "var"), ("weight", "bias")),
    "backward_inference": (("x", "dy", "y", "out", "dresidual"), ("mean", "var"), ("weight", "dweight", "dbias")),
}
#: Shape and strides of x: channels first and last, and samples of features.
ARRAYS = {
    "planes": (BATCH, (32, 64, 56, 56), (200704, 3136, 56, 1)),
    "pixels": (BATCH, (32, 64, 56, 56), (200704, 1, 3584, 64)),
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
    like_x, statistics, vectors = DIRECTIONS[direction]
    if not fused:
        like_x = tuple(name for name in like_x if name not in ("residual", "dresidual", "y"))
    samples = where == "samples"
    statistics = statistics[:2] if samples else statistics
    given = [norm_axes.Given(name, storage, shape, strides) for name in like_x]
    given += [norm_axes.Given(name, dtype, (shape[0] if samples else 64,), (1,)) for name in statistics]
    given += [norm_axes.Given(name, dtype, (shape[1],), (1,)) for name in vectors]
    groups = norm_axes.LAYER if samples else 64
    norm = norm_axes.Norm(direction, 3 * fused, dtype, labels, groups, tuple(given), 0, True)
    return list(dict.fromkeys(launch.kernel for launch in norm_plan.plan(norm).launches))


def operations(text):
    """What is done in float64, loads and stores apart."""
    return set(re.findall(r"\b(?:add|sub|mul|div|fma|sqrt|rcp|neg|abs|min|max)\b(?=\S*\.f64)", text))


def check_norm(kernel, generation):
    text = check(kernel, generation, 64 if getattr(kernel.writer, "mapping", "") != "single" else 80)
    if kernel.dtype == "float64":
        return
    if isinstance(kernel.writer, cuda.Elements):
        assert ".f64" not in text, f"float64 in {kernel.name}"
    elif isinstance(kernel.writer, cuda.Sums) and not kernel.writer.wide:
        assert operations(text) == {"add"}, f"more float64 in {kernel.name} than sums of groups"


@pytest.mark.parametrize("fused", [False, True], ids=["alone", "fused"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("where", ["planes", "pixels"])
def test_batch_norm(where, direction, fused):
    for kernel in kernels(where, direction, fused):
        check_norm(kernel, (9, 0))


@pytest.mark.parametrize("fused", [False, True], ids=["alone", "fused"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_layer_norm(direction, fused):
    for kernel in kernels("samples", direction, fused):
        check_norm(kernel, (9, 0))


@pytest.mark.parametrize("generation", [each for each in GENERATIONS if each != (9, 0)], ids=str)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_generations(direction, generation):
    for kernel in kernels("planes", direction):
        check_norm(kernel, generation)


@pytest.mark.parametrize(
    ("storage", "dtype"), [("bfloat16", "float32"), ("float16", "float32"), ("float64", "float64")]
)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_storages(direction, storage, dtype):
    for kernel in kernels("planes", direction, storage=storage, dtype=dtype):
        check_norm(kernel, (9, 0))


@pytest.mark.parametrize(("where", "direction", "loads", "stores"), [
    ("planes", "forward", 5 + 2 * 4, 4), ("planes", "backward", 5 + 3 * 2, 4), ("pixels", "forward", 5 + 2 * 4, 4),
])  # fmt: skip
def test_each_element_is_loaded_and_stored_once(where, direction, loads, stores):
    """A row's parameters, and of each of a thread's elements what the formula takes.

    The text may be there twice: for sizes of 32 bits, the compiler knows a faster division.
    """
    (kernel,) = (each for each in kernels(where, direction) if isinstance(each.writer, cuda.Elements))
    text = ptx_of(kernel, (9, 0))
    times = len(re.findall(r"\bst\.global", text)) / stores
    assert times in (1, 2)
    assert len(re.findall(r"\bld\.global", text)) == times * loads
