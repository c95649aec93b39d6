"""Writes the CUDA kernels of feature scaling, which run the functions of rules/scaling.py over samples by features.

A thread has a feature and goes along its samples: the feature's values stay in registers. What it gathers is the fixed
tree of ``engine/scaling/scaling.h``, and so has the host's bits.

As in codegen/cuda/update.py, indices are 64 bits and unsigned, and there is no number in the text: what `NAMES` lists
are globals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from fastopt.specs.scaling import STATISTICS

from ..parse import Function, parse_functions
from .norm import Array, indent, inlined, loaded, stored

#: Elements that a thread asks for before it uses the first. Of joined parts an element is five float64: 4 of them take
#: 66 registers on 10.0.
SCALED, GATHERED, JOINED = 4, 8, 3

#: Numbers that the text goes by.
NAMES = {"scaled": SCALED, "gathered": GATHERED, "joined": JOINED}

#: What is gathered of a feature, as the rule names it.
VALUES = STATISTICS

HEADER = '''\
"""Generated from fastopt/rules/scaling.py by fastopt/codegen/cuda/scaling.py: change those, not this."""
'''

#: What a feature begins with, of which nothing has been gathered; and so what adds nothing.
EMPTY = {name: {"lowest": "infinite64", "highest": "-infinite64"}.get(name, "zero64") for name in VALUES}

#: A thread's place among all, and how many there are.
PLACE = "index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x)"
PLACES = "index(cuda.gridDim.x) * index(cuda.blockDim.x)"


def _asked(count: int, index: str, step: str, end: str, load: Callable[[int], list[str]],
           otherwise: Callable[[int], list[str]]) -> list[str]:  # fmt: skip
    """Lines that load so many elements, at index 0, 1, ...; or that say what stands in the place of one behind the end.

    Each but the first has a condition of its own, lest the compiler move it back to where it is used.
    """
    lines = load(0)
    for k in range(1, count):
        lines += [f"{index}{k} = {index}{k - 1} + {step}", *otherwise(k), f"if {index}{k} < {end}:"]
        lines += [f"    {line}" for line in load(k)]
    return lines


def _one_by_one(place: str, step: str, pattern: str) -> list[str]:
    """Lines that go from place to place, a value each."""
    lines = [f"place = {place}"]
    for name in VALUES:
        lines += [pattern.format(name), f"place += {step}"]
    return lines[:-1]


@dataclass(frozen=True)
class _Columns(ABC):
    """What these kernels have in common: arrays of samples by features, and values of features."""

    #: Of x, then of what is written: how each is stored.
    storages: tuple[str, ...]
    dtype: str

    #: The module whose functions they run.
    rules: ClassVar[str] = "scaling"
    scalars: ClassVar[tuple[str, ...]] = ()
    own_words: ClassVar[tuple[str, ...]] = ()

    @property
    def tables(self) -> tuple[Array, ...]:
        """Arrays of samples by features."""
        return tuple(Array(name, storage) for name, storage in zip(("x", "out"), self.storages, strict=False))

    @property
    @abstractmethod
    def pointers(self) -> list[tuple[str, str]]:
        """Names of the pointers, and what is there; what is written comes last, as the simulator wants it."""

    @property
    def words(self) -> list[str]:
        """Names of the indices and sizes."""
        places = [f"{table.name}_{what}" for table in self.tables for what in ("start", "sample", "feature")]
        return ["samples", "features", *self.own_words, *places]

    def module(self, lines: list[str], *functions: Function) -> str:
        """The text."""
        arguments = ", ".join([*(f"{name}_" for name, _ in self.pointers), *self.words])
        parts = [inlined(function.name, function) for function in functions]
        return "\n\n".join([HEADER, *parts, f"def kernel({arguments}):\n{indent(lines, 1)}"])

    def value(self, at: str) -> str:
        """An element of x, in the compute type."""
        return loaded(self.tables[0], at, self.dtype)


@dataclass(frozen=True)
class _Along(_Columns):
    """Kernels whose blocks have ``width`` neighbouring features of a span of samples."""

    own_words: ClassVar[tuple[str, ...]] = ("units", "chunks", "width", "span")

    def along(self, before: list[str], some: list[str], after: list[str]) -> list[str]:
        """Lines for a feature, for some of its samples, i0 and those behind it, and for the end."""
        names = [table.name for table in self.tables]
        return [
            "height = index(cuda.blockDim.x) // width",
            "thread = index(cuda.threadIdx.x)",
            "unit = index(cuda.blockIdx.x)",
            "while unit < units:",
            "    feature = unit % chunks * width + thread % width",
            "    i0 = unit // chunks * span + thread // width",
            "    end = min(unit // chunks * span + span, samples)",
            "    if feature < features:",
            *(f"        {line}" for line in before),
            *(f"        {name}_feature0 = {name}_start + feature * {name}_feature" for name in names),
            "        while i0 < end:",
            *(f"            {line}" for line in [*some, "i0 += height * scaled"]),
            *(f"        {line}" for line in after),
            "    unit += index(cuda.gridDim.x)",
        ]  # fmt: skip

    def loads(self) -> list[str]:
        """All of a thread's elements."""
        return _asked(
            SCALED, "i", "height", "end",
            lambda k: [f"x{k} = {self.value(f'x_feature0 + i{k} * x_sample')}"], lambda k: [f"x{k} = zero"],
        )  # fmt: skip


@dataclass(frozen=True)
class Scale(_Along):
    """Scales x into out, which may be x."""

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """x; of every feature what the rule takes, one behind the other; what is written."""
        x, out = self.storages
        return [("x", x), ("scales", self.dtype), ("out", out)]

    def text(self, source: str) -> str:
        """The module."""
        scale = parse_functions(source)["scale"]
        before = ["at = feature"]
        for name in scale.scalars:
            before += [f"{name} = scales_[at]", "at += features"]
        stores = []
        for k in range(SCALED):
            made = f"scale({', '.join([f'x{k}', *scale.scalars])})"
            store = stored(self.tables[1], f"out_feature0 + i{k} * out_sample", made, self.dtype)
            stores += [f"if i{k} < end:", f"    {store}"] if k else [store]
        return self.module(self.along(before, [*self.loads(), *stores], []), scale)


@dataclass(frozen=True)
class NonfiniteProbe(_Along):
    """Says whether some x is not finite: a word, 0 before, then is 1."""

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """x; the word."""
        return [("x", self.storages[0]), ("word", "word")]

    def text(self, source: str) -> str:
        """The module."""
        probe = parse_functions(source)["nonfinite_probe"]
        some = [*self.loads(), *(f"nonfinite = nonfinite_probe(x{k}, nonfinite)" for k in range(SCALED))]
        # Whichever thread writes, it is the same.
        return self.module(
            self.along(["nonfinite = zero"], some, ["if nonfinite != zero:", "    word_[none] = single"]), probe
        )


@dataclass(frozen=True)
class First(_Columns):
    """Finds each feature's first finite value, or the first that is not, a block for each: its sample and the value.

    Where there is none, it is behind the last sample, and 0.
    """

    finite: bool

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """x; the samples; the values."""
        return [("x", self.storages[0]), ("samples_found", "word"), ("values", "float64")]

    def text(self, source: str) -> str:
        """The module."""
        return self.module([
            "founds = cuda.shared.array(threads, index)",
            "thread = index(cuda.threadIdx.x)",
            "feature = index(cuda.blockIdx.x)",
            "while feature < features:",
            "    at = x_start + feature * x_feature",
            "    base = none",
            "    first = samples",
            "    while base < samples and first == samples:",
            "        mine = samples",
            "        if base + thread < samples:",
            f"            x = {self.value('at + (base + thread) * x_sample')}",
            f"            if x - x {'==' if self.finite else '!='} zero:",
            "                mine = base + thread",
            "        founds[thread] = mine",
            "        cuda.syncthreads()",
            "        k = none",
            "        while k < index(cuda.blockDim.x):",
            "            first = min(first, founds[k])",
            "            k += single",
            "        cuda.syncthreads()",
            "        base += index(cuda.blockDim.x)",
            "    if thread == none:",
            "        value = zero64",
            "        if first < samples:",
            f"            value = real64({self.value('at + first * x_sample')})",
            "        values_[feature] = value",
            "        samples_found_[feature] = first",
            "    feature += index(cuda.gridDim.x)",
        ])  # fmt: skip


@dataclass(frozen=True)
class ColumnStats(_Columns):
    """Gathers each feature's parts: a thread has one, from its first sample to its last."""

    own_words: ClassVar[tuple[str, ...]] = ("part", "parts")

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """x; the features' centres; of each value of the rule, those of all parts."""
        return [("x", self.storages[0]), ("centres", "float64"), ("partials", "float64")]

    def text(self, source: str) -> str:
        """The module."""
        stats = parse_functions(source)["column_stats"]
        scalars = ", ".join("one64" if name == "one" else name for name in stats.scalars)
        some = _asked(
            GATHERED, "i", "single", "end",
            lambda k: [f"x{k} = {self.value('at')}", "at += x_sample"],
            lambda k: [f"x{k} = unknown"],  # a NaN counts for nothing
        )  # fmt: skip
        some += [f"{', '.join(VALUES)} = column_stats(real64(x{k}), {scalars})" for k in range(GATHERED)]
        return self.module([
            f"unit = {PLACE}",
            "while unit < parts * features:",
            "    feature = unit % features",
            "    i0 = unit // features * part",
            "    end = min(i0 + part, samples)",
            "    at = x_start + i0 * x_sample + feature * x_feature",
            "    centre = centres_[feature]",
            *(f"    {name} = {value}" for name, value in EMPTY.items()),
            "    while i0 < end:",
            *(f"        {line}" for line in [*some, "i0 += gathered"]),
            *(f"    {line}" for line in _one_by_one("unit", "parts * features", "partials_[place] = {0}")),
            f"    unit += {PLACES}",
        ], stats)  # fmt: skip


@dataclass(frozen=True)
class Join(_Columns):
    """Adds up each feature's parts in order: a thread has a feature. One kernel, whatever x is stored as."""

    own_words: ClassVar[tuple[str, ...]] = ("parts",)

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """Of each value of the rule, those of all parts; and those of the features."""
        return [("partials", "float64"), ("values", "float64")]

    def text(self, source: str) -> str:
        """The module."""
        some = _asked(
            JOINED, "part", "single", "parts",
            lambda k: [*_one_by_one("at", "parts * features", f"{{0}}{k} = partials_[place]"), "at += features"],
            lambda k: [f"{name}{k} = {value}" for name, value in EMPTY.items()],
        )  # fmt: skip
        for k in range(JOINED):
            some += [_joined(name, f"{name}{k}") for name in VALUES]
        return self.module([
            f"feature = {PLACE}",
            "while feature < features:",
            *(f"    {name} = {value}" for name, value in EMPTY.items()),
            "    at = feature",
            "    part0 = none",
            "    while part0 < parts:",
            *(f"        {line}" for line in [*some, "part0 += joined"]),
            *(f"    {line}" for line in _one_by_one("feature", "features", "values_[place] = {0}")),
            f"    feature += {PLACES}",
        ])  # fmt: skip


def _joined(name: str, part: str) -> str:
    """A line that adds a part's value."""
    compared = {"lowest": "<", "highest": ">"}.get(name)
    return f"{name} = {part} if {part} {compared} {name} else {name}" if compared else f"{name} += {part}"
