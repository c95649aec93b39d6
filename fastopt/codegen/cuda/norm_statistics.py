"""Writes the CUDA kernels between the norms' sums and elements: all in float64, as ``engine/norm/statistics.c`` and
``vectors.c`` have it.

A row is a statistic here. A team of threads fetches a statistic's sums, of which its first thread adds up the parts in
order, then the channels; and goes on to what elements want to know, rounded to the compute type, once for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .norm import HEADER, LEAVE_UNLESS_ASKED, Array, indent, loaded, stored
from .places import extents, find, strides

#: Numbers in float64 that the text goes by: the first pass's centre is so many standard deviations from the mean at
#: most, squared; and below this variance squares of float32 deviations might be subnormal, and so lost.
NAMES64 = {"farthest": 16.0, "least_variance": 2.0**-96, "huge": 1.7976931348623157e308, "waiting": -1.0}

#: From a variance to rstd: with eps = 0, values that are all equal would have 0 * inf.
RSTD_OF = """\
@inlined
def rstd_of(floored, least):
    return one64 / sqrt64(least if floored >= zero64 and floored < least else floored)
"""

#: From a running statistic to the next, as ``moved`` in norm_vectors.c; never infinite.
UPDATED = """\
@inlined
def updated(running, batch, momentum, keep, largest):
    weight = momentum if keep > momentum else keep
    start = running if keep > momentum else batch
    end = batch if keep > momentum else running
    difference = end - start if weight > zero64 else zero64
    value = start + weight * difference
    if not (difference <= huge and difference >= -huge):
        value = keep * running + momentum * batch
    if value > largest and value <= huge:
        value = largest
    if value < -largest and value >= -huge:
        value = -largest
    return value
"""


@dataclass(frozen=True)
class _Statistics:
    """What these kernels have in common: arrays of a value for each row, and numbers in float64."""

    arrays: tuple[Array, ...]
    dtype: str
    rows: int

    #: The module that their like are of.
    rules: ClassVar[str] = "norm"

    #: Sizes and numbers that they are given.
    own_words: ClassVar[tuple[str, ...]] = ("rows",)
    scalars: ClassVar[tuple[str, ...]] = ()

    @property
    def own_pointers(self) -> list[tuple[str, str]]:
        """Names of the pointers to scratch memory, and what is there."""
        return []

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """Names of the pointers, and what is there."""
        return [*((each.name, each.storage) for each in self.arrays), *self.own_pointers]

    @property
    def words(self) -> list[str]:
        """Names of the indices and sizes."""
        words = [*self.own_words, *extents("r", self.rows)]
        for each in self.arrays:
            words += [f"{each.name}_start", *strides(each.name, "r", self.rows)]
        return words

    def module(self, *parts: str, body: str) -> str:
        """The text, with the functions that it calls."""
        arguments = ", ".join([*(f"{name}_" for name, _ in self.pointers), *self.words, *self.scalars])
        return "\n\n".join([HEADER, *parts, f"def kernel({arguments}):\n{body}"])

    def places(self) -> list[str]:
        """Where this row's values are."""
        return find(
            "row", "r", self.rows, [(each.name, f"{each.name}_row", f"{each.name}_start") for each in self.arrays]
        )

    def read(self, name: str) -> str:
        """The row's value in an array, in float64."""
        (array,) = (each for each in self.arrays if each.name == name)
        return f"real64({loaded(array, f'{name}_row', self.dtype)})"

    def write(self, name: str, value: str) -> str:
        """A line that rounds a float64 to the compute type, and then to what the array stores."""
        (array,) = (each for each in self.arrays if each.name == name)
        return stored(array, f"{name}_row", f"real({value})", self.dtype)

    def one_by_one(self, lines: list[str]) -> str:
        """A thread has a row."""
        return (
            indent([
                "row = index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x)",
                "while row < rows:",
            ], 1)
            + indent([*self.places(), *lines], 2)
            + indent(["row += index(cuda.gridDim.x) * index(cuda.blockDim.x)"], 2)
        )  # fmt: skip

    def collect(self, asked: str, channel: list[str], finish: list[str]) -> str:
        """A team has a row, if it is ``asked`` for: lines for a channel, whose sums are a and b, and for the end."""
        return (
            indent([
                "firsts = cuda.shared.array(threads, real64)",
                "seconds = cuda.shared.array(threads, real64)",
                "thread = index(cuda.threadIdx.x)",
                "member = thread % team",
                "teams = index(cuda.blockDim.x) // team",
                "count = channels * parts",
                "base = index(cuda.blockIdx.x) * teams",
                "while base < rows:",
                "    row = base + thread // team",
                f"    asked = {asked}",
                "    first = zero64",
                "    second = zero64",
                "    a = zero64",
                "    b = zero64",
                "    channel = none",
                "    part = none",
                "    at = none",
                "    while at < count:",
                "        if asked and at + member < count:",
                "            firsts[thread] = first_[row * count + at + member]",
                "            seconds[thread] = second_[row * count + at + member]",
                "        cuda.syncthreads()",
                "        if asked and member == none:",
                "            k = none",
                "            while k < team and at + k < count:",
                "                a += firsts[thread + k]",
                "                b += seconds[thread + k]",
                "                part += single",
                "                if part == parts:",
            ], 1)
            + indent([*channel, "a = zero64", "b = zero64", "part = none", "channel += single"], 6)
            + indent([
                "                k += single",
                "        cuda.syncthreads()",
                "        at += team",
                "    if asked and member == none:",
            ], 1)
            + indent(finish or ["part = none"], 3)
            + indent(["    base += index(cuda.gridDim.x) * teams"], 1)
        )  # fmt: skip


@dataclass(frozen=True)
class Moments(_Statistics):
    """From sums of deviations to mean and rstd, running statistics, and the parameters of `normalise`."""

    second_pass: bool

    own_words: ClassVar[tuple[str, ...]] = ("rows", "channels", "parts", "team", "values", "updates_var")
    scalars: ClassVar[tuple[str, ...]] = (
        "per_value",
        "eps",
        "least",
        "momentum",
        "keep",
        "factor",
        "largest_mean",
        "largest_var",
    )

    @property
    def own_pointers(self) -> list[tuple[str, str]]:
        """Sums, statistics between the passes, parameters."""
        parameters = [(name, self.dtype) for name in ("rounded", "scale", "shift")]
        return [(name, "float64") for name in ("asked", "first", "second", "means", "waits")] + parameters

    def text(self, source: str) -> str:
        """The module."""
        asked = "row < rows" + " and waits_[row] < zero64" * self.second_pass
        finish = [
            *self.places(),
            "mean = zero64",
            "lost = zero64",  # the mean rounded to float64, less the mean
            "var = zero64",
            "good = True",
            "if values > none:",
            "    squares = second - first * (first * per_value)",
            f"    centre = {self.read('centre')}",
            "    moved = first * per_value",
            "    mean = centre + moved",
            "    back = mean - centre",
            "    lost = (back - moved) + ((mean - back) - centre)",
            "    var = (zero64 if squares < zero64 else squares) * per_value",
            *(f"    {line}" for line in self._judge()),
            "rstd = rstd_of(var + eps, least)",
            "means_[row] = mean",
            "waits_[row] = rstd if good else waiting",
            "if good:",
            *(f"    {line}" for line in self._final()),
            "else:",
            "    asked_[none] = waiting",  # whoever writes it, it is the same
        ]
        leave = indent(LEAVE_UNLESS_ASKED * self.second_pass, 1)
        body = leave + self.collect(asked, ["first += a", "second += b"], finish)
        return self.module(RSTD_OF, UPDATED, body=body)

    def _judge(self) -> list[str]:
        """Whether a second pass can improve it."""
        if self.second_pass:
            return []
        if self.dtype == "float64":
            return ["good = False"]
        return [
            "good = first * (first * per_value) <= farthest * squares and squares <= huge "
            "and squares * per_value + eps >= least_variance"
        ]

    def _final(self) -> list[str]:
        rounding = "lost" if self.dtype == "float64" else "real64(real(mean)) - mean"
        lines = [
            "rounded_[row] = real(mean)",
            "scale_[row] = real(rstd)",
            f"shift_[row] = real(({rounding}) * rstd)",
            self.write("mean", "mean"),
            self.write("rstd", "rstd"),
        ]
        if not any(each.name == "running_mean" for each in self.arrays):
            return lines
        mean, var = (
            f"updated({self.read(f'running_{what}')}, {batch}, momentum, keep, largest_{what})"
            for what, batch in (("mean", "mean"), ("var", "factor * var"))
        )
        return [
            *lines,
            "if values > none:",
            f"    {self.write('running_mean', mean)}",
            "if updates_var > none:",
            f"    {self.write('running_var', var)}",
        ]


@dataclass(frozen=True)
class Gradients(_Statistics):
    """From sums of gradients to those of whole channels and, of statistics that depend on x, to slope and offset.

    A channel's sums are left where the first of its parts was.
    """

    weighted: bool
    fixed: bool

    own_words: ClassVar[tuple[str, ...]] = ("rows", "channels", "parts", "team")
    scalars: ClassVar[tuple[str, ...]] = ("per_value",)

    @property
    def words(self) -> list[str]:
        """Names of the indices and sizes."""
        return super().words + ["weight_channel"] * self.weighted

    @property
    def own_pointers(self) -> list[tuple[str, str]]:
        """Sums, parameters."""
        parameters = [] if self.fixed else [("slope", self.dtype), ("offset", self.dtype)]
        return [("first", "float64"), ("second", "float64"), *parameters]

    def text(self, source: str) -> str:
        """The module."""
        channel = [
            "first_[(row * channels + channel) * parts] = a",
            "second_[(row * channels + channel) * parts] = b",
        ]
        finish = []
        if not self.fixed:
            if self.weighted:
                (weight,) = (each for each in self.arrays if each.name == "weight")
                weight_of = loaded(weight, "weight_row + channel * weight_channel", self.dtype)
                channel += [*self.places(), f"weight = real64({weight_of})"]
            factor = "weight * " * self.weighted
            channel += [f"first += {factor}a", f"second += {factor}b"]
            finish = [
                *self.places(),
                "offset_[row] = real(first * per_value)",
                f"slope_[row] = real({self.read('rstd')} * (second * per_value))",
            ]
        return self.module(body=self.collect("row < rows", channel, finish))


@dataclass(frozen=True)
class Fixed(_Statistics):
    """From a given mean and variance to the parameters of what is computed with them."""

    scalars: ClassVar[tuple[str, ...]] = ("eps", "least")

    @property
    def own_pointers(self) -> list[tuple[str, str]]:
        """Parameters."""
        return [(name, self.dtype) for name in ("rounded", "scale", "shift")]

    def text(self, source: str) -> str:
        """The module."""
        lines = [
            f"mean = {self.read('mean')}",
            f"rstd = rstd_of({self.read('var')} + eps, least)",
            "rounded_[row] = real(mean)",
            "scale_[row] = real(rstd)",
            "shift_[row] = real((real64(real(mean)) - mean) * rstd)",
        ]
        return self.module(RSTD_OF, body=self.one_by_one(lines))


@dataclass(frozen=True)
class Totals(_Statistics):
    """The gradients of weight and bias: sums of a channel, added up over outer indices or parts. Rows are channels."""

    own_words: ClassVar[tuple[str, ...]] = ("rows", "terms", "term_step", "row_step")

    @property
    def own_pointers(self) -> list[tuple[str, str]]:
        """Sums."""
        return [("first", "float64"), ("second", "float64")]

    def text(self, source: str) -> str:
        """The module."""
        lines = [
            "first = zero64",
            "second = zero64",
            "k = none",
            "while k < terms:",
            "    first += first_[row * row_step + k * term_step]",
            "    second += second_[row * row_step + k * term_step]",
            "    k += single",
            self.write("dbias", "first"),
            self.write("dweight", "second"),
        ]
        return self.module(body=self.one_by_one(lines))
