"""Generates the CUDA kernels of feature scaling, which run the functions of rules/scaling.py over samples by features.

A thread processes samples of one feature, whose values stay in registers. Statistics are summed in the fixed tree of
``engine/scaling/scaling.h``, and so have the same bits as on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from fastopt.specs.scaling import STATISTICS

from .kernel import PLACE, PLACES, Written, framed, loaded, stored

#: Elements that a thread loads before it uses the first. An element of joined parts is five float64: 4 of them take 66
#: registers on compute capability 10.0.
SCALED, GATHERED, JOINED = 4, 8, 3

#: The statistics of a feature, by their names in the rule
VALUES = STATISTICS

#: The initial values of a feature's statistics, which are neutral elements
EMPTY = {name: {"lowest": "infinite64", "highest": "-infinite64"}.get(name, "zero64") for name in VALUES}

#: The lines for a feature, for its samples i0 and following, and after the last sample
ALONG = """\
height = index(cuda.blockDim.x) // width
thread = index(cuda.threadIdx.x)
unit = index(cuda.blockIdx.x)
while unit < units:
    feature = unit % chunks * width + thread % width
    i0 = unit // chunks * span + thread // width
    end = min(unit // chunks * span + span, samples)
    if feature < features:
        {before}
        {places}
        while i0 < end:
            {some}
            i0 += height * scaled
        {after}
    unit += index(cuda.gridDim.x)
"""

FIRST = """\
founds = cuda.shared.array(threads, index)
thread = index(cuda.threadIdx.x)
feature = index(cuda.blockIdx.x)
while feature < features:
    at = x_start + feature * x_feature
    base = none
    first = samples
    while base < samples and first == samples:
        mine = samples
        if base + thread < samples:
            x = {mine}
            if x - x {compared} zero:
                mine = base + thread
        founds[thread] = mine
        cuda.syncthreads()
        k = none
        while k < index(cuda.blockDim.x):
            first = min(first, founds[k])
            k += single
        cuda.syncthreads()
        base += index(cuda.blockDim.x)
    if thread == none:
        value = zero64
        if first < samples:
            value = real64({found})
        values_[feature] = value
        samples_found_[feature] = first
    feature += index(cuda.gridDim.x)
"""

COLUMN_STATS = """\
unit = {place}
while unit < parts * features:
    feature = unit % features
    i0 = unit // features * part
    end = min(i0 + part, samples)
    at = x_start + i0 * x_sample + feature * x_feature
    centre = centres_[feature]
    {empty}
    while i0 < end:
        {some}
        i0 += gathered
    {store}
    unit += {places}
"""

JOIN = """\
feature = {place}
while feature < features:
    {empty}
    at = feature
    part0 = none
    while part0 < parts:
        {some}
        part0 += joined
    {store}
    feature += {places}
"""


def _asked(count: int, index: str, step: str, end: str, load: Callable[[int], list[str]],
           otherwise: Callable[[int], list[str]]) -> list[str]:  # fmt: skip
    """Lines that load this many elements, at index 0, 1, ..., or set those beyond the end to another value.

    Each but the first has a condition of its own, so that the compiler does not move loads to their first use.
    """
    lines = load(0)
    for k in range(1, count):
        lines += [f"{index}{k} = {index}{k - 1} + {step}", *otherwise(k), f"if {index}{k} < {end}:"]
        lines += [f"    {line}" for line in load(k)]
    return lines


def _one_by_one(place: str, step: str, pattern: str) -> list[str]:
    """Lines that advance one variable per value."""
    lines = [f"place = {place}"]
    for name in VALUES:
        lines += [pattern.format(name), f"place += {step}"]
    return lines[:-1]


def _empty(k: int | str = "") -> list[str]:
    return [f"{name}{k} = {value}" for name, value in EMPTY.items()]


@dataclass(frozen=True)
class _Columns(Written):
    """The common parts of these kernels: arrays of samples by features, and values of features."""

    #: The storage types of x and of the written array.
    storages: tuple[str, ...]
    dtype: str

    rules = "scaling"
    own_words: ClassVar[tuple[str, ...]] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """The arrays of samples by features."""
        return ("x", "out")[: len(self.storages)]

    @property
    def words(self) -> list[str]:
        places = [f"{table}_{what}" for table in self.tables for what in ("start", "sample", "feature")]
        return ["samples", "features", *self.own_words, *places]

    @property
    def numbers(self) -> Mapping[str, float]:
        return {"scaled": SCALED, "gathered": GATHERED, "joined": JOINED}

    def value(self, at: str) -> str:
        """An element of x in the compute type."""
        return loaded(f"x_[{at}]", self.storages[0], self.dtype)


@dataclass(frozen=True)
class _Along(_Columns):
    """Kernels with blocks of ``width`` neighbouring features of a span of samples."""

    own_words = ("units", "chunks", "width", "span")

    def along(self, before: list[str], some: list[str], after: list[str]) -> list[str]:
        """Lines for a feature, for a thread's elements of it, which are all loaded first, and after the last one."""
        places = [f"{name}_feature0 = {name}_start + feature * {name}_feature" for name in self.tables]
        loads = _asked(
            SCALED, "i", "height", "end",
            lambda k: [f"x{k} = {self.value(f'x_feature0 + i{k} * x_sample')}"], lambda k: [f"x{k} = zero"],
        )  # fmt: skip
        return framed(ALONG, before=before, places=places, some=[*loads, *some], after=after)


@dataclass(frozen=True)
class Scale(_Along):
    """Scales x into out, which may be x."""

    called = ("scale",)

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """x; the rule's values of all features, consecutively; the written array."""
        x, out = self.storages
        return [("x", x), ("scales", self.dtype), ("out", out)]

    def body(self) -> list[str]:
        before, stores = ["at = feature"], []
        for name in self.functions["scale"].scalars:
            before += [f"{name} = scales_[at]", "at += features"]
        for k in range(SCALED):
            made = f"scale({', '.join([f'x{k}', *self.functions['scale'].scalars])})"
            store = f"out_[out_feature0 + i{k} * out_sample] = {stored(made, self.storages[1], self.dtype)}"
            stores += [f"if i{k} < end:", f"    {store}"] if k else [store]
        return self.along(before, stores, [])


@dataclass(frozen=True)
class NonfiniteProbe(_Along):
    """Tests whether some x is not finite: sets a word from 0 to 1, whichever thread writes it."""

    called = ("nonfinite_probe",)

    @property
    def pointers(self) -> list[tuple[str, str]]:
        return [("x", self.storages[0]), ("word", "word")]

    def body(self) -> list[str]:
        some = [f"nonfinite = nonfinite_probe(x{k}, nonfinite)" for k in range(SCALED)]
        return self.along(["nonfinite = zero"], some, ["if nonfinite != zero:", "    word_[none] = single"])


@dataclass(frozen=True)
class First(_Columns):
    """Finds each feature's first value that is finite, or that is not: its sample and the value; one block per feature.

    If there is none, the sample is the number of samples, and the value 0.
    """

    finite: bool

    @property
    def pointers(self) -> list[tuple[str, str]]:
        return [("x", self.storages[0]), ("samples_found", "word"), ("values", "float64")]

    def body(self) -> list[str]:
        mine, found = (self.value(f"at + {index} * x_sample") for index in ("(base + thread)", "first"))
        return framed(FIRST, mine=mine, found=found, compared="==" if self.finite else "!=")


@dataclass(frozen=True)
class ColumnStats(_Columns):
    """Computes the statistics of each feature's parts; a thread processes the samples of a part in order."""

    called = ("column_stats",)
    own_words = ("part", "parts")

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """x; the features' centres; for each value of the rule, the results of all parts."""
        return [("x", self.storages[0]), ("centres", "float64"), ("partials", "float64")]

    def body(self) -> list[str]:
        scalars = ", ".join("one64" if name == "one" else name for name in self.functions["column_stats"].scalars)
        some = _asked(
            GATHERED, "i", "single", "end",
            lambda k: [f"x{k} = {self.value('at')}", "at += x_sample"],
            lambda k: [f"x{k} = unknown"],  # a NaN is not counted
        )  # fmt: skip
        some += [f"{', '.join(VALUES)} = column_stats(real64(x{k}), {scalars})" for k in range(GATHERED)]
        store = _one_by_one("unit", "parts * features", "partials_[place] = {0}")
        return framed(COLUMN_STATS, place=PLACE, places=PLACES, empty=_empty(), some=some, store=store)


@dataclass(frozen=True)
class Join(_Columns):
    """Adds each feature's parts in order; one thread per feature. The kernel is the same for all storage types of x."""

    own_words = ("parts",)

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """For each value of the rule, those of all parts; then those of the features."""
        return [("partials", "float64"), ("values", "float64")]

    def body(self) -> list[str]:
        some = _asked(
            JOINED, "part", "single", "parts",
            lambda k: [*_one_by_one("at", "parts * features", f"{{0}}{k} = partials_[place]"), "at += features"],
            _empty,
        )  # fmt: skip
        some += [_joined(name, f"{name}{k}") for k in range(JOINED) for name in VALUES]
        store = _one_by_one("feature", "features", "values_[place] = {0}")
        return framed(JOIN, place=PLACE, places=PLACES, empty=_empty(), some=some, store=store)


def _joined(name: str, part: str) -> str:
    """A line that adds the value of a part."""
    compared = {"lowest": "<", "highest": ">"}.get(name)
    return f"{name} = {part} if {part} {compared} {name} else {name}" if compared else f"{name} += {part}"
