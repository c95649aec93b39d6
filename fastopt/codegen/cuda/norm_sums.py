"""Writes the CUDA kernels that add up for norms: a fixed tree, whose leaves are groups of terms that one thread has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastopt.specs.sums import GROUP

from ..norm import Loop
from .norm import HEADER, LEAVE_UNLESS_ASKED, Array, indent, inlined, loaded, loop_of
from .places import advance, digits, extents, find, steps, strides


@dataclass(frozen=True)
class Sums:
    """A kernel that adds up two terms of every element, part by part.

    ``line``: neighbours along a row stand together; each thread has a group of a lane. ``columns``: neighbouring rows
    do; each thread has a lane of a row. ``single``: likewise, but there are no lanes (dweight and dbias of samples).
    """

    function: str
    variant: int
    arrays: tuple[Array, ...]
    dtype: str
    rows: int
    reduced: int
    mapping: str
    wide: bool = False

    #: The module whose functions it runs.
    rules: ClassVar[str] = "norm"
    scalars: ClassVar[tuple[str, ...]] = ()

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """Names of the pointers, and what is there."""
        passes = [("asked", "float64")] if self.function == "deviations" else []
        passes += [("waits", "float64")] if self.wide else []
        sums = [("first", "float64"), ("second", "float64")]
        return [*((each.name, each.storage) for each in self.arrays), *passes, *sums]

    @property
    def words(self) -> list[str]:
        """Names of the indices and sizes."""
        words = ["rows", "parts", "part", "length"]
        words += {"line": ["groups"], "columns": ["inner", "tiles"], "single": []}[self.mapping]
        words += ["per_group"] * self.wide + extents("r", self.rows) + extents("w", self.reduced) + digits(self.reduced)
        for each in self.arrays:
            words += [f"{each.name}_start", *strides(each.name, "r", self.rows)]
            words += [*strides(each.name, "w", self.reduced), *steps(each.name, self.reduced)] if each.along else []
        return words

    def text(self, source: str) -> str:
        """The module."""
        loop, functions = loop_of(source, self.function, self.variant)
        called = [loop.gradient, self.function] if loop.backward else [self.function]
        body = {"line": self._line, "columns": self._columns, "single": self._single}[self.mapping](loop)
        arguments = ", ".join([*(f"{name}_" for name, _ in self.pointers), *self.words])
        kernel = f"def kernel({arguments}):\n{indent(self._begin(), 1)}{body}"
        return "\n\n".join([HEADER, *(inlined(name, functions[name]) for name in called), kernel])

    def _begin(self) -> list[str]:
        """The first pass resets the request for a second one, which returns at once if there is none."""
        if self.function != "deviations":
            return []
        if self.wide:
            return LEAVE_UNLESS_ASKED
        return ["if index(cuda.blockIdx.x) + index(cuda.threadIdx.x) == none:", "    asked_[none] = zero64"]

    # ---- Which thread has what

    def _line(self, loop: Loop) -> str:
        """A block has some rows' parts, and sums up each by lanes and groups; groups of a lane are added in order."""
        has = "unit < units" + " and waits_[unit // parts // per_group] < zero64" * self.wide
        return (
            indent(self._shared(), 1)
            + indent([
                "lane = thread % lanes",
                "group = thread // lanes % groups",
                "slots = index(cuda.blockDim.x) // lanes // groups",
                "slot = thread // lanes // groups",
                "units = rows * parts",
                "base = index(cuda.blockIdx.x) * slots",
                "while base < units:",
                "    unit = base + slot",
                "    first = zero64",
                "    second = zero64",
                f"    if {has}:",
                "        row = unit // parts",
                "        begin = unit % parts * part",
                "        end = min(begin + part, length)",
                "        i = begin + group * group_size + lane",
                "        if i < end:",
            ], 1)
            + indent([*self._row(loop), *self._find("i"), *self._group(loop, "lanes")], 4)
            + indent([
                "    firsts[thread] = first",
                "    seconds[thread] = second",
                "    cuda.syncthreads()",
                "    if group == none:",
                "        first = zero64",
                "        second = zero64",
                "        k = thread",
                "        while k < thread + groups * lanes:",
                "            first += firsts[k]",
                "            second += seconds[k]",
                "            k += lanes",
                "        firsts[thread] = first",
                "        seconds[thread] = second",
                "    cuda.syncthreads()",
                *indent(self._fold("single", "group == none and "), 1).splitlines(),
                f"    if {has} and group == none and lane == none:",
                "        first_[unit] = firsts[thread]",
                "        second_[unit] = seconds[thread]",
                "    cuda.syncthreads()",
                "    base += index(cuda.gridDim.x) * slots",
            ], 1)
        )  # fmt: skip

    def _columns(self, loop: Loop) -> str:
        """A block has a part of some neighbouring rows, of each of which a thread sums up one lane."""
        has = "column < inner" + " and waits_[row // per_group] < zero64" * self.wide
        return (
            indent(self._shared(), 1)
            + indent([
                "width = index(cuda.blockDim.x) // lanes",
                "lane = thread // width",
                "units = rows // inner * parts * tiles",
                "unit = index(cuda.blockIdx.x)",
                "while unit < units:",
                "    column = unit % tiles * width + thread % width",
                "    rest = unit // tiles",
                "    row = rest // parts * inner + column",
                "    begin = rest % parts * part",
                "    end = min(begin + part, length)",
                "    first = zero64",
                "    second = zero64",
                "    i = begin + lane",
                f"    if {has} and i < end:",
            ], 1)
            + indent([*self._row(loop), *self._find("i")], 3)
            + indent(["while i < end:"], 3)
            + indent([*self._group(loop, "lanes"), "i += group_size"], 4)
            + indent([
                "    firsts[thread] = first",
                "    seconds[thread] = second",
                "    cuda.syncthreads()",
                *indent(self._fold("width", ""), 1).splitlines(),
                f"    if {has} and lane == none:",
                "        first_[row * parts + rest % parts] = firsts[thread]",
                "        second_[row * parts + rest % parts] = seconds[thread]",
                "    cuda.syncthreads()",
                "    unit += index(cuda.gridDim.x)",
            ], 1)
        )  # fmt: skip

    def _single(self, loop: Loop) -> str:
        """A thread has a part of one row, from beginning to end."""
        return (
            indent([
                "unit = index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x)",
                "while unit < rows * parts:",
                "    row = unit % rows",
                "    begin = unit // rows * part",
                "    end = min(begin + part, length)",
                "    first = zero64",
                "    second = zero64",
                "    i = begin",
            ], 1)
            + indent([*self._row(loop), *self._find("i")], 2)
            + indent(["while i < end:"], 2)
            + indent([*self._group(loop, "single"), "i += lane_group"], 3)
            + indent([
                "    first_[unit] = first",
                "    second_[unit] = second",
                "    unit += index(cuda.gridDim.x) * index(cuda.blockDim.x)",
            ], 1)
        )  # fmt: skip

    def _shared(self) -> list[str]:
        return [
            "firsts = cuda.shared.array(threads, real64)",
            "seconds = cuda.shared.array(threads, real64)",
            "thread = index(cuda.threadIdx.x)",
        ]

    def _fold(self, width: str, condition: str) -> list[str]:
        """Lanes, ``width`` threads apart, are added up pairwise."""
        return [
            "half = half_the_lanes",
            "while half > none:",
            f"    if {condition}lane < half:",
            f"        firsts[thread] += firsts[thread + half * {width}]",
            f"        seconds[thread] += seconds[thread + half * {width}]",
            "    cuda.syncthreads()",
            "    half = half // (single + single)",
        ]

    # ---- What a thread adds up

    def _row(self, loop: Loop) -> list[str]:
        """Where a row begins, and what is one value for all of it."""
        lines = find(
            "row", "r", self.rows, [(each.name, f"{each.name}_row", f"{each.name}_start") for each in self.arrays]
        )
        for each in self.arrays:
            if not each.along:
                lines += [f"{each.name} = {self._wide(loaded(each, f'{each.name}_row', self.dtype))}"]
        return lines

    def _find(self, index: str) -> list[str]:
        places = [(each.name, f"{each.name}_at", f"{each.name}_row") for each in self.arrays if each.along]
        return find(index, "w", self.reduced, places)

    def _group(self, loop: Loop, step: str) -> list[str]:
        """Terms of a group, added up in their own type; of a whole one, all elements are asked for at once."""
        read = [each for each in self.arrays if each.along]
        forward = advance(self.reduced, [each.name for each in read])
        whole: list[str] = []
        for k in range(GROUP):
            whole += [f"{each.name}_{k} = {loaded(each, f'{each.name}_at', self.dtype)}" for each in read]
            whole += forward
        whole += [f"a, b = {self._terms(loop, '0')}"]
        for k in range(1, GROUP):
            whole += [f"c, d = {self._terms(loop, str(k))}", "a += c", "b += d"]
        each_load = [f"{each.name}_0 = {loaded(each, f'{each.name}_at', self.dtype)}" for each in read]
        rest = [*each_load, f"a, b = {self._terms(loop, '0')}", f"k = i + {step}", "while k < end:"]
        more = [*forward, *each_load, f"c, d = {self._terms(loop, '0')}", "a += c", "b += d", f"k += {step}"]
        whole_fits = f"i + (lane_group - single) * {step} < end"
        return [
            f"if {whole_fits}:",
            *(f"    {line}" for line in whole),
            "else:",
            *(f"    {line}" for line in rest),
            *(f"        {line}" for line in more),
            "first += real64(a)",
            "second += real64(b)",
        ]

    def _terms(self, loop: Loop, k: str) -> str:
        """The terms of one element."""
        names = {each.name: f"{each.name}_{k}" if each.along else each.name for each in self.arrays}
        elements = {name: self._wide(f"{name}_{k}") if name in names else "one" for name in loop.function.arrays}
        if loop.backward:
            elements["dy"] = f"{loop.gradient}({elements['dy']}, {names.get('y', elements['dy'])})"
        return f"{self.function}({', '.join([*elements.values(), *(names[name] for name in loop.function.scalars)])})"

    def _wide(self, value: str) -> str:
        return f"real64({value})" if self.wide else value
