"""Runs feature scaling of device arrays: puts the kernels of a checked call into a stream.

Fitted statistics, and the test for finite values, are copied to the host: those calls synchronise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.codegen.cuda.norm import THREADS
from fastopt.codegen.cuda.scaling import SCALED, VALUES, ColumnStats, First, Join, NonfiniteProbe, Scale
from fastopt.device.arrays import new
from fastopt.device.axes import ADDRESSES, pointer_to
from fastopt.device.machine import Argument, Memory
from fastopt.device.ordering import joined
from fastopt.device.select import machine
from fastopt.device.update import BLOCKS_PER_PROCESSOR
from fastopt.engine.core.devices import View
from fastopt.engine.scaling.scaling import refined_centres

#: A sample, a feature and the value there.
Place = tuple[int, int, float]

#: Threads of a block that searches a feature's first value, which is usually the very first.
FINDING_THREADS = 32


def column_stats(
    x: Any, view: View, dtype: str, part: int, step: int, device: int, stream: Any
) -> tuple[np.ndarray[Any, Any], list[np.ndarray[Any, Any]]]:
    """Return each feature's centre, and statistics of deviations from it.

    ``part`` is the number of samples in a part; centres are refined with every ``step``-th sample.
    """
    samples, features = view.shape
    parts = -(-samples // part)
    with joined([x], device, stream) as handle:
        _refuse_capture(device, handle)
        if features == 0:
            return np.empty(0), [np.empty(0)] * len(VALUES)
        call = _Call(device, handle, view, dtype)
        _, centres = call.first(finite=True)
        partials, values = (call.numbers(len(VALUES) * each * features) for each in (parts, 1))
        if samples > step:
            centres = call.refined(centres, values, step)
        call.launch(
            ColumnStats((view.storage,), dtype), -(-parts * features // call.threads),
            {"part": part, "parts": parts}, centres, partials,
        )  # fmt: skip
        call.launch(Join((), "float64"), -(-features // call.threads), {"parts": parts}, partials, values)
        return centres.fetch(call), list(values.fetch(call).reshape(len(VALUES), features))


def first_not_finite(x: Any, view: View, dtype: str, device: int, stream: Any) -> Place | None:
    """Return the sample, feature and value of the first x that is not finite; None if all are finite."""
    with joined([x], device, stream) as handle:
        _refuse_capture(device, handle)
        if 0 in view.shape:
            return None
        call = _Call(device, handle, view, dtype)
        return call.first_place() if call.has_nonfinite() else None


def scale(
    x: Any, view: View, out: Any, target: View | None, dtype: str, scales: list[np.ndarray[Any, Any]], device: int,
    stream: Any,
) -> Any:  # fmt: skip
    """Put a kernel into the stream that scales x into out, which may be x or None (a new array); return out."""
    with joined([x] if out is None else [x, out], device, stream) as handle:
        if target is None:
            out, target = new(x, "out", view.storage, view.shape, view.strides, device, handle)
        if 0 in view.shape:
            return out
        call = _Call(device, handle, view, dtype, target)
        # Not stored for the next call: the memory is freed in the order of a stream that may no longer exist by then.
        there = machine().filled(device, handle, b"".join(each.tobytes() for each in scales))
        call.along(Scale((view.storage, target.storage), dtype), _Numbers(there, dtype, len(scales) * view.shape[1]))
    return out


def _refuse_capture(device: int, stream: int) -> None:
    """Raise if a graph is being captured, since capturing streams can't be synchronised."""
    if machine().is_capturing(device, stream):
        raise ValueError("x is used in a stream that is captured, which can't be synchronised; expected another")


class _Numbers:
    """Numbers in a device's memory."""

    def __init__(self, memory: Memory, storage: str, elements: int):
        self.memory, self.storage, self.elements = memory, storage, elements

    def pointer(self) -> Argument:
        return machine().pointer(self.memory.address, self.storage, self.elements)

    def fetch(self, call: _Call) -> np.ndarray[Any, Any]:
        return machine().fetch(call.device, call.stream, self.memory.address, self.storage, self.elements)


class _Call:
    """A call's arrays and its launches."""

    def __init__(self, device: int, stream: int, x: View, dtype: str, out: View | None = None):
        self.device, self.stream, self.dtype = device, stream, dtype
        self.views = {"x": x} if out is None else {"x": x, "out": out}
        self.samples, self.features = x.shape
        self.threads = machine().threads(THREADS, 4)
        self.most_blocks = BLOCKS_PER_PROCESSOR * machine().processors(device)
        self.words = {"samples": self.samples, "features": self.features}
        self.pointers = {}
        for name, view in self.views.items():
            pointer, start = pointer_to(view.address, view.storage, view.shape, view.strides)
            self.pointers[name], self.words[f"{name}_start"] = pointer, start
            self.words[f"{name}_sample"], self.words[f"{name}_feature"] = view.strides

    def numbers(self, elements: int, storage: str = "float64") -> _Numbers:
        """Allocate memory for numbers."""
        return _Numbers(machine().allocate(self.device, self.stream, 8 * elements), storage, elements)

    # ---- Launches

    def first(self, finite: bool) -> tuple[_Numbers, _Numbers]:
        """Return for each feature the sample and the value of the first value that is finite, or that is not."""
        found = self.numbers(self.features, "word"), self.numbers(self.features)
        writer = First((self.views["x"].storage,), self.dtype, finite)
        self.launch(writer, self.features, {}, *found, threads=FINDING_THREADS)
        return found

    def refined(self, centres: _Numbers, values: _Numbers, step: int) -> _Numbers:
        """Return centres closer to the means, as ``refine_centres`` in engine/scaling/column_stats.c."""
        some = -(-(self.samples - step // 2) // step)
        words = {
            "samples": some, "part": some, "parts": 1, "x_sample": self.words["x_sample"] * step,
            "x_start": self.words["x_start"] + self.words["x_sample"] * (step // 2),
        }  # fmt: skip
        writer = ColumnStats((self.views["x"].storage,), self.dtype)
        self.launch(writer, -(-self.features // self.threads), words, centres, values)
        count, total = values.fetch(self).reshape(-1, self.features)[:2]
        moved = refined_centres(count, total, centres.fetch(self))
        return _Numbers(machine().filled(self.device, self.stream, moved.tobytes()), "float64", self.features)

    def first_place(self) -> Place:
        """Return the first value that is not finite, by sample and feature."""
        samples, values = (each.fetch(self) for each in self.first(finite=False))
        feature = int(samples.argmin())
        return int(samples[feature]), feature, float(values[feature])

    def has_nonfinite(self) -> bool:
        """Return whether some x is not finite."""
        word = _Numbers(machine().filled(self.device, self.stream, bytes(8)), "word", 1)
        self.along(NonfiniteProbe((self.views["x"].storage,), self.dtype), word)
        return bool(word.fetch(self)[0])

    def along(self, writer: Scale | NonfiniteProbe, values: _Numbers) -> None:
        """Launch a kernel with blocks of neighbouring features, or the transposed one if samples are closer together.

        The memory order of the written array decides.
        """
        down, across = map(abs, list(self.views.values())[-1].strides)
        by_sample = self.features == 1 or (self.samples > 1 and down < across)
        width = 1
        while width < self.threads and width < self.features and not by_sample:
            width *= 2
        chunks = -(-self.features // width)
        least = SCALED * (self.threads // width)
        spans = max(1, min(-(-self.samples // least), -(-self.most_blocks // chunks)))
        span = -(-self.samples // (spans * least)) * least
        words = {"units": chunks * -(-self.samples // span), "chunks": chunks, "width": width, "span": span}
        self.launch(writer, words["units"], words, values)

    def launch(self, writer: Any, blocks: int, words: dict[str, int], *numbers: _Numbers, threads: int = 0) -> None:
        """Launch a kernel, with enough blocks for the work, up to the number that runs concurrently."""
        own = iter(numbers)
        pointers = [
            self.pointers[name] if name in self.pointers else next(own).pointer() for name, _ in writer.pointers
        ]
        every = {**self.words, **words}
        ordered = [every[name] % ADDRESSES for name in writer.words]
        threads = machine().threads(threads, 4) if threads else self.threads
        machine().launch(
            writer, self.device, self.stream, min(blocks, self.most_blocks), threads, [*pointers, *ordered]
        )  # fmt: skip
