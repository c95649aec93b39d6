"""Generates the CUDA kernels between the norms' sums and elements, in float64, like ``engine/norm/statistics.c`` and
``vectors.c``.

A row is a statistic here. A team of threads loads a statistic's sums; its first thread adds the parts in order, then
the channels, and computes the parameters of the elements, rounded once to the compute type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .kernel import PLACE, PLACES, framed
from .norm import LEAVE_UNLESS_ASKED, Array, NormKernel
from .places import extents

#: rstd from a variance: with eps = 0, equal values would otherwise give 0 * inf.
RSTD_OF = """\
@inlined
def rstd_of(floored, least):
    return one64 / sqrt64(least if floored >= zero64 and floored < least else floored)
"""

#: The next value of a running statistic, as in ``moved`` in engine/norm/vectors.c; never infinite.
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

#: One thread per row.
ONE_BY_ONE = """\
row = {place}
while row < rows:
    {find_row}
    {lines}
    row += {places}
"""

#: A team per row, if ``asked`` is true: the lines for a channel, with sums a and b, and the final lines.
TEAMS = """\
firsts = cuda.shared.array(threads, real64)
seconds = cuda.shared.array(threads, real64)
thread = index(cuda.threadIdx.x)
member = thread % team
teams = index(cuda.blockDim.x) // team
count = channels * parts
base = index(cuda.blockIdx.x) * teams
while base < rows:
    row = base + thread // team
    asked = {asked}
    first = zero64
    second = zero64
    a = zero64
    b = zero64
    channel = none
    part = none
    at = none
    while at < count:
        if asked and at + member < count:
            firsts[thread] = first_[row * count + at + member]
            seconds[thread] = second_[row * count + at + member]
        cuda.syncthreads()
        if asked and member == none:
            k = none
            while k < team and at + k < count:
                a += firsts[thread + k]
                b += seconds[thread + k]
                part += single
                if part == parts:
                    {channel}
                    a = zero64
                    b = zero64
                    part = none
                    channel += single
                k += single
        cuda.syncthreads()
        at += team
    if asked and member == none:
        {finish}
    base += index(cuda.gridDim.x) * teams
"""

#: Mean and variance from a statistic's sums, and whether they are accurate.
MOMENTS = """\
{find_row}
mean = zero64
lost = zero64  # the mean rounded to float64, less the mean
var = zero64
good = True
if values > none:
    squares = second - first * (first * per_value)
    centre = {centre}
    moved = first * per_value
    mean = centre + moved
    back = mean - centre
    lost = (back - moved) + ((mean - back) - centre)
    var = (zero64 if squares < zero64 else squares) * per_value
    {judge}
rstd = rstd_of(var + eps, least)
means_[row] = mean
waits_[row] = rstd if good else waiting
if good:
    {final}
else:
    asked_[none] = waiting  # whoever writes it, it is the same
"""

TOTALS = """\
first = zero64
second = zero64
k = none
while k < terms:
    first += first_[row * row_step + k * term_step]
    second += second_[row * row_step + k * term_step]
    k += single
{dbias}
{dweight}
"""

#: The total sums of a team's statistic, and the parameters of `normalise`.
SUMS = [("first", "float64"), ("second", "float64")]
PARAMETERS = ("rounded", "scale", "shift")


#: The mean rounded to the compute type minus the mean
ROUNDING = "real64(real(mean)) - mean"


def _parameters(rounding: str) -> list[str]:
    shift = f"shift_[row] = real(({rounding}) * rstd)"
    return ["rounded_[row] = real(mean)", "scale_[row] = real(rstd)", shift]


@dataclass(frozen=True)
class _Statistics(NormKernel):
    """The common parts of these kernels: arrays with one value per row, and numbers in float64."""

    own_words: ClassVar[tuple[str, ...]] = ("rows",)

    @property
    def own_pointers(self) -> list[tuple[str, str]]:
        """Pointers to scratch memory."""
        return SUMS

    @property
    def pointers(self) -> list[tuple[str, str]]:
        return [*super().pointers, *self.own_pointers]

    @property
    def words(self) -> list[str]:
        return [*self.own_words, *extents("r", self.rows), *self.places()]

    def parameters(self, *names: str) -> list[tuple[str, str]]:
        return [(name, self.dtype) for name in names]

    def array(self, name: str) -> Array:
        (array,) = (each for each in self.arrays if each.name == name)
        return array

    def read(self, name: str, place: str = "") -> str:
        """The row's value in an array, in float64."""
        return f"real64({self.load(self.array(name), place or f'{name}_row')})"

    def write(self, name: str, value: str) -> str:
        """Return a line that stores a float64, rounded to the compute type and then to the array's storage type."""
        return self.store(self.array(name), f"{name}_row", f"real({value})")

    def one_by_one(self, lines: list[str]) -> list[str]:
        return framed(ONE_BY_ONE, place=PLACE, places=PLACES, find_row=self.find_row(), lines=lines)


@dataclass(frozen=True)
class Moments(_Statistics):
    """Computes mean and rstd, running statistics, and the parameters of `normalise` from sums of deviations."""

    second_pass: bool

    own_words = ("rows", "channels", "parts", "team", "values", "updates_var")
    helpers = (RSTD_OF, UPDATED)
    scalars = ("per_value", "eps", "least", "momentum", "keep", "factor", "largest_mean", "largest_var")

    @property
    def own_pointers(self) -> list[tuple[str, str]]:
        passes = [(name, "float64") for name in ("asked", "first", "second", "means", "waits")]
        return [*passes, *self.parameters(*PARAMETERS)]

    def body(self) -> list[str]:
        finish = framed(
            MOMENTS, find_row=self.find_row(), centre=self.read("centre"), judge=self._judge(), final=self._final()
        )
        leave = LEAVE_UNLESS_ASKED * self.second_pass
        asked = "row < rows" + " and waits_[row] < zero64" * self.second_pass
        return [*leave, *framed(TEAMS, asked=asked, channel=["first += a", "second += b"], finish=finish)]

    def _judge(self) -> list[str]:
        """Return the lines that decide whether a second pass would improve the result."""
        if self.second_pass:
            return []
        if self.dtype == "float64":
            return ["good = False"]
        return [
            "good = first * (first * per_value) <= farthest * squares and squares <= huge "
            "and squares * per_value + eps >= least_variance"
        ]

    def _final(self) -> list[str]:
        rounding = "lost" if self.dtype == "float64" else ROUNDING
        lines = [*_parameters(rounding), self.write("mean", "mean"), self.write("rstd", "rstd")]
        if any(each.name == "running_mean" for each in self.arrays):
            for what, batch, condition in (("mean", "mean", "values"), ("var", "factor * var", "updates_var")):
                moved = f"updated({self.read(f'running_{what}')}, {batch}, momentum, keep, largest_{what})"
                lines += [f"if {condition} > none:", f"    {self.write(f'running_{what}', moved)}"]
        return lines


@dataclass(frozen=True)
class Gradients(_Statistics):
    """Computes sums of whole channels from sums of gradients and, for statistics that depend on x, slope and offset.

    A channel's sum replaces that of its first part.
    """

    weighted: bool
    fixed: bool

    own_words = ("rows", "channels", "parts", "team")
    scalars = ("per_value",)

    @property
    def words(self) -> list[str]:
        return super().words + ["weight_channel"] * self.weighted

    @property
    def own_pointers(self) -> list[tuple[str, str]]:
        return SUMS if self.fixed else [*SUMS, *self.parameters("slope", "offset")]

    def body(self) -> list[str]:
        sums = {"first": "a", "second": "b"}
        channel = [f"{name}_[(row * channels + channel) * parts] = {value}" for name, value in sums.items()]
        finish = ["part = none"]
        if not self.fixed:
            factor = "weight * " * self.weighted
            if self.weighted:
                weight = self.read("weight", "weight_row + channel * weight_channel")
                channel += [*self.find_row(), f"weight = {weight}"]
            channel += [f"{name} += {factor}{value}" for name, value in sums.items()]
            finish = [
                *self.find_row(),
                "offset_[row] = real(first * per_value)",
                f"slope_[row] = real({self.read('rstd')} * (second * per_value))",
            ]
        return framed(TEAMS, asked="row < rows", channel=channel, finish=finish)


@dataclass(frozen=True)
class Fixed(_Statistics):
    """Computes the parameters of elements from a given mean and variance."""

    helpers = (RSTD_OF,)
    scalars = ("eps", "least")

    @property
    def own_pointers(self) -> list[tuple[str, str]]:
        return self.parameters(*PARAMETERS)

    def body(self) -> list[str]:
        lines = [f"mean = {self.read('mean')}", f"rstd = rstd_of({self.read('var')} + eps, least)"]
        return self.one_by_one([*lines, *_parameters(ROUNDING)])


@dataclass(frozen=True)
class Totals(_Statistics):
    """The gradients of weight and bias: sums of a channel over outer indices or parts. Rows are channels."""

    own_words = ("rows", "terms", "term_step", "row_step")

    def body(self) -> list[str]:
        return self.one_by_one(
            framed(TOTALS, dbias=self.write("dbias", "first"), dweight=self.write("dweight", "second"))
        )
