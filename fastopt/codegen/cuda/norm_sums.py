"""Generates the CUDA kernels that compute sums for norms in a fixed tree; each leaf is a thread's group of terms."""

from __future__ import annotations

from dataclasses import dataclass

from fastopt.specs.sums import GROUP

from .kernel import PLACE, PLACES, framed
from .norm import LEAVE_UNLESS_ASKED, LoopKernel
from .places import advance, digits, extents, find, steps, strides

#: A block sums parts of some rows by lanes and groups; the groups of a lane are added in order.
LINE = """\
{shared}
lane = thread % lanes
group = thread // lanes % groups
slots = index(cuda.blockDim.x) // lanes // groups
slot = thread // lanes // groups
units = rows * parts
base = index(cuda.blockIdx.x) * slots
while base < units:
    unit = base + slot
    first = zero64
    second = zero64
    if unit < units{waits}:
        row = unit // parts
        begin = unit % parts * part
        end = min(begin + part, length)
        i = begin + group * group_size + lane
        if i < end:
            {row}
            {group}
    firsts[thread] = first
    seconds[thread] = second
    cuda.syncthreads()
    if group == none:
        first = zero64
        second = zero64
        k = thread
        while k < thread + groups * lanes:
            first += firsts[k]
            second += seconds[k]
            k += lanes
        firsts[thread] = first
        seconds[thread] = second
    cuda.syncthreads()
    {fold}
    if unit < units{waits} and group == none and lane == none:
        first_[unit] = firsts[thread]
        second_[unit] = seconds[thread]
    cuda.syncthreads()
    base += index(cuda.gridDim.x) * slots
"""

#: A block sums a part of some neighbouring rows; a thread sums one lane of one row.
COLUMNS = """\
{shared}
width = index(cuda.blockDim.x) // lanes
lane = thread // width
units = rows // inner * parts * tiles
unit = index(cuda.blockIdx.x)
while unit < units:
    column = unit % tiles * width + thread % width
    rest = unit // tiles
    row = rest // parts * inner + column
    begin = rest % parts * part
    end = min(begin + part, length)
    first = zero64
    second = zero64
    i = begin + lane
    if column < inner{waits} and i < end:
        {row}
        while i < end:
            {group}
            i += group_size
    firsts[thread] = first
    seconds[thread] = second
    cuda.syncthreads()
    {fold}
    if column < inner{waits} and lane == none:
        first_[row * parts + rest % parts] = firsts[thread]
        second_[row * parts + rest % parts] = seconds[thread]
    cuda.syncthreads()
    unit += index(cuda.gridDim.x)
"""

#: A thread sums a part of one row in order.
SINGLE = """\
unit = {place}
while unit < rows * parts:
    row = unit % rows
    begin = unit // rows * part
    end = min(begin + part, length)
    first = zero64
    second = zero64
    i = begin
    {row}
    while i < end:
        {group}
        i += lane_group
    first_[unit] = first
    second_[unit] = second
    unit += {places}
"""

SHARED = """\
firsts = cuda.shared.array(threads, real64)
seconds = cuda.shared.array(threads, real64)
thread = index(cuda.threadIdx.x)
"""

#: Add lanes pairwise; neighbouring lanes are {width} threads apart.
FOLD = """\
half = half_the_lanes
while half > none:
    if {condition}lane < half:
        firsts[thread] += firsts[thread + half * {width}]
        seconds[thread] += seconds[thread + half * {width}]
    cuda.syncthreads()
    half = half // (single + single)
"""

#: Add the terms of a group in their own type; all elements of a whole group are loaded first.
TERMS = """\
if i + (lane_group - single) * {step} < end:
    {whole}
else:
    {load}
    a, b = {terms}
    k = i + {step}
    while k < end:
        {forward}
        {load}
        c, d = {terms}
        a += c
        b += d
        k += {step}
first += real64(a)
second += real64(b)
"""


@dataclass(frozen=True)
class Sums(LoopKernel):
    """A kernel that sums two terms of every element, part by part.

    ``line``: elements of a row are adjacent; each thread has a group of a lane. ``columns``: neighbouring rows are
    adjacent; each thread has a lane of a row. ``single``: the same without lanes (dweight and dbias of samples).
    """

    reduced: int
    mapping: str
    wide: bool = False

    @property
    def pointers(self) -> list[tuple[str, str]]:
        passes = ["asked"] * (self.function == "deviations") + ["waits"] * self.wide
        return [*super().pointers, *((name, "float64") for name in (*passes, "first", "second"))]

    @property
    def words(self) -> list[str]:
        words = ["rows", "parts", "part", "length"]
        words += {"line": ["groups"], "columns": ["inner", "tiles"], "single": []}[self.mapping]
        words += ["per_group"] * self.wide + extents("r", self.rows) + extents("w", self.reduced) + digits(self.reduced)
        for each in self.arrays:
            words += [f"{each.name}_start", *strides(each.name, "r", self.rows)]
            words += [*strides(each.name, "w", self.reduced), *steps(each.name, self.reduced)] if each.along else []
        return words

    @property
    def called(self) -> tuple[str, ...]:
        return *[self.loop.gradient] * self.loop.backward, self.function

    def body(self) -> list[str]:
        """The first pass resets the request for a second pass, which returns at once without a request."""
        begin = []
        if self.wide:
            begin = LEAVE_UNLESS_ASKED
        elif self.function == "deviations":
            begin = ["if index(cuda.blockIdx.x) + index(cuda.threadIdx.x) == none:", "    asked_[none] = zero64"]
        parts = {"row": self._row(), "group": self._group("single" if self.mapping == "single" else "lanes")}
        if self.mapping == "single":
            return [*begin, *framed(SINGLE, place=PLACE, places=PLACES, **parts)]
        frame, unit, width, condition = {
            "line": (LINE, "unit // parts", "single", "group == none and "),
            "columns": (COLUMNS, "row", "width", ""),
        }[self.mapping]
        waits = f" and waits_[{unit} // per_group] < zero64" * self.wide
        fold = framed(FOLD, width=width, condition=condition)
        return [*begin, *framed(frame, shared=SHARED.splitlines(), waits=waits, fold=fold, **parts)]

    def _row(self) -> list[str]:
        """Return the lines that find a row's start, its uniform values, and a thread's start."""
        lines = self.find_row()
        for each in self.arrays:
            if not each.along:
                lines += [f"{each.name} = {self._wide(self.load(each, f'{each.name}_row'))}"]
        places = [(each.name, f"{each.name}_at", f"{each.name}_row") for each in self.arrays if each.along]
        return [*lines, *find("i", "w", self.reduced, places)]

    def _group(self, step: str) -> list[str]:
        read = [each for each in self.arrays if each.along]
        forward = advance(self.reduced, [each.name for each in read])
        loads = [[f"{each.name}_{k} = {self.load(each, f'{each.name}_at')}" for each in read] for k in range(GROUP)]
        whole = [line for load in loads for line in (*load, *forward)]
        whole += [f"a, b = {self._terms(0)}"]
        for k in range(1, GROUP):
            whole += [f"c, d = {self._terms(k)}", "a += c", "b += d"]
        return framed(TERMS, step=step, whole=whole, load=loads[0], terms=self._terms(0), forward=forward)

    def _terms(self, k: int) -> str:
        """Return the terms of one element."""
        loop = self.loop
        names = {each.name: f"{each.name}_{k}" if each.along else each.name for each in self.arrays}
        elements = {name: self._wide(f"{name}_{k}") if name in names else "one" for name in loop.function.arrays}
        if loop.backward:
            elements["dy"] = f"{loop.gradient}({elements['dy']}, {names.get('y', elements['dy'])})"
        return f"{self.function}({', '.join([*elements.values(), *(names[name] for name in loop.function.scalars)])})"

    def _wide(self, value: str) -> str:
        return f"real64({value})" if self.wide else value
