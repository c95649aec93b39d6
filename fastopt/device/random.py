"""Runs random rules on device arrays: puts the kernel of a checked call into a stream."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, NamedTuple

from fastopt.backends.cuda.vectors import alignment
from fastopt.codegen.cuda.random import COPY, FOUR, Random
from fastopt.codegen.cuda.update import LINEAR
from fastopt.codegen.random import random_rules_of
from fastopt.device.arrays import new
from fastopt.device.axes import ADDRESSES, Axis, count, merged, pointer_to, row_major, words_of
from fastopt.device.ordering import joined
from fastopt.device.select import machine
from fastopt.device.update import BLOCKS_PER_PROCESSOR, THREADS
from fastopt.engine.core.devices import View
from fastopt.rules import random as random_rules
from fastopt.specs.dtypes import MOVED, SIZES
from fastopt.specs.random import BITS

#: The position of the purpose in the upper half of a counter, above the offset.
PURPOSE = 56


class Work(NamedTuple):
    """The work for random bits: a rule of rules/random.py (None for a copy), the bits, and the coefficients."""

    rule: str | None
    dtype: str
    seed: int
    offset: int
    #: One for each 32 bits that the rule takes per element: purposes of fastopt/engine/core/philox.h.
    purposes: tuple[int, ...]
    scalars: tuple[float, ...]


def fill(work: Work, param: Any, view: View, element: str | None, device: int, stream: Any) -> None:
    """Put a kernel into the stream that writes every element of an array; the rule may read it by this name."""
    with joined([param], device, stream) as handle:
        _launch(work, {"out": view} if element is None else {element: view, "out": view}, device, handle)


def drop(work: Work, x: Any, name: str, view: View, out: Any, target: View | None, device: int, stream: Any) -> Any:
    """Put a kernel into the stream that writes a function of x to ``out``, or to a new array; return that array."""
    given = [x] if out is None else [x, out]
    with joined(given, device, stream) as handle:
        if target is None:
            out, target = new(x, "out", view.storage, view.shape, view.strides, device, handle, name)
        _launch(work, {"x": view, "out": target}, device, handle)
    return out


def _launch(work: Work, views: dict[str, View], device: int, stream: int) -> None:
    """Launch the kernel that writes "out", with enough blocks for the work, up to the number that runs concurrently."""
    axes = _axes(views)
    elements = count(axes)
    if not elements:
        return
    is_linear = elements == 1 or (len(axes) == 1 and all(axes[0].stride(name) == 1 for name in (*views, "place")))
    stored = {name: view.storage if work.rule else MOVED[SIZES[view.storage]] for name, view in views.items()}
    kernel = _kernel(work.rule, tuple(stored.values()), work.dtype, LINEAR if is_linear else len(axes))
    turns = -(-elements // FOUR) if is_linear else elements
    are_aligned = all(view.address % alignment(SIZES[view.storage]) == 0 for view in views.values())
    words = {"count_": elements, "counters_": turns, "whole_": elements // FOUR if are_aligned else 0}
    words.update(words_of("r", axes, [*views, "place"]), seed_=work.seed)
    for name, purpose in zip(BITS, work.purposes, strict=False):
        words[f"{name}_tweak_"] = work.offset | purpose << PURPOSE
    pointers = []
    for name, view in views.items():
        pointer, words[f"{name}_start"] = pointer_to(view.address, stored[name], view.shape, view.strides)
        pointers.append(pointer)
    ordered = [words[name] % ADDRESSES for name in kernel.words]
    threads = machine().threads(THREADS, 4)
    blocks = min(-(-turns // threads), BLOCKS_PER_PROCESSOR * machine().processors(device))
    machine().launch(kernel, device, stream, blocks, threads, [*pointers, *ordered, *work.scalars])


def _axes(views: dict[str, View]) -> list[Axis]:
    """Return the axes in the memory order of "out", with one more array: the elements' positions in C order."""
    axes = [
        Axis(extent, {name: view.strides[axis] for name, view in views.items()})
        for axis, extent in enumerate(views["out"].shape)
    ]
    axes = sorted(row_major(axes, "place"), key=lambda axis: -abs(axis.stride("out")))
    return merged(axes, [*views, "place"])


@cache
def _kernel(rule: str | None, storages: tuple[str, ...], dtype: str, axes: int) -> Random:
    function = COPY if rule is None else random_rules_of(inspect.getsource(random_rules), dtype)[rule]
    return Random(function, storages, storages[-1] if rule is None else dtype, axes)
