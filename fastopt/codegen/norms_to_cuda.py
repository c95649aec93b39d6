"""Writes the Python modules from which Numba's CUDA target compiles the norms' kernels.

Every kind of norm is rows of elements; `fastopt.device.norms` says which. What each array is to a kernel, its strides
say (`cuda_places`): a mean has stride 0 wherever its statistic goes on. Sums are the fixed tree of ``engine/norm.h``,
and so have the bits of the host: parts of 2,048, lanes of 16, groups of 8 terms in the compute type, then float64.

As in `to_cuda`, indices are 64 bits and unsigned, and there is no number in the text: what `NAMES` lists are globals.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .cuda_places import advance, digits, extents, find, steps, strides
from .panel_text import GROUP, LANES, PANELS, Loop
from .rule_text import Function, parse_functions
from .to_cuda import unroll

#: Values of a part, the unit of work of the sums, as PART in engine/norm.h.
PART = 2048

#: Threads of a block, at most.
THREADS = 256

#: Numbers that the text goes by.
NAMES = {
    "none": 0, "single": 1, "lanes": LANES, "half_the_lanes": LANES // 2, "part_size": PART,
    "group_size": GROUP * LANES, "lane_group": GROUP,
}  # fmt: skip

HEADER = '''\
"""Generated from fastopt/norm_rules.py by fastopt/codegen/norms_to_cuda.py: change those, not this."""
'''


#: Where no statistic wants a second round, its kernels have nothing to do.
LEAVE_UNLESS_ASKED = ["if asked_[none] >= zero64:", "    return"]


@dataclass(frozen=True)
class Array:
    """An array as a kernel has it: how it is stored, and whether it varies along rows or is one value for each."""

    name: str
    storage: str
    along: bool = True


def indent(lines: Sequence[str], depth: int) -> str:
    """Lines of text, so many levels deep."""
    return textwrap.indent("".join(f"{line}\n" for line in lines), "    " * depth)


def inlined(name: str, function: Function) -> str:
    """A function of norm_rules.py, with its body as it stands."""
    arguments = ", ".join(function.arrays + function.scalars)
    return f"@inlined\ndef {name}({arguments}):\n{indent(function.body.splitlines(), 1)}"


def loop_of(source: str, function: str, form: int) -> tuple[Loop, dict[str, Function]]:
    """Return what panels_to_numba.py and panels_to_cython.py make their kernels of, too."""
    functions = parse_functions(source)
    panel = next(panel for panel in PANELS if panel.function == function)
    return Loop(panel, form, functions[function]), functions


def loaded(array: Array, place: str, dtype: str) -> str:
    """An element in the compute type."""
    element = f"{array.name}_[{place}]"
    return element if array.storage == dtype else f"load_{array.storage}({element})"


def stored(array: Array, place: str, value: str, dtype: str) -> str:
    """A line that rounds a value of the compute type to what the array stores."""
    return f"{array.name}_[{place}] = {value if array.storage == dtype else f'store_{array.storage}({value})'}"


# ---- Sums


@dataclass(frozen=True)
class Sums:
    """A kernel that adds up two terms of every element, part by part.

    ``line``: neighbours along a row stand together; each thread has a group of a lane. ``columns``: neighbouring rows
    do; each thread has a lane of a row. ``single``: likewise, but there are no lanes (dweight and dbias of samples).
    """

    function: str
    form: int
    arrays: tuple[Array, ...]
    dtype: str
    rows: int
    walk: int
    mapping: str
    wide: bool = False

    scalars: ClassVar[tuple[str, ...]] = ()

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """Names of the pointers, and what is there."""
        rounds = [("asked", "float64")] if self.function == "deviations" else []
        rounds += [("waits", "float64")] if self.wide else []
        sums = [("first", "float64"), ("second", "float64")]
        return [*((each.name, each.storage) for each in self.arrays), *rounds, *sums]

    @property
    def words(self) -> list[str]:
        """Names of the indices and sizes."""
        words = ["rows", "parts", "part", "length"]
        words += {"line": ["groups"], "columns": ["inner", "tiles"], "single": []}[self.mapping]
        words += ["per_group"] * self.wide + extents("r", self.rows) + extents("w", self.walk) + digits(self.walk)
        for each in self.arrays:
            words += [f"{each.name}_start", *strides(each.name, "r", self.rows)]
            words += [*strides(each.name, "w", self.walk), *steps(each.name, self.walk)] if each.along else []
        return words

    def text(self, source: str) -> str:
        """The module."""
        loop, functions = loop_of(source, self.function, self.form)
        called = [loop.gradient, self.function] if loop.backward else [self.function]
        body = {"line": self._line, "columns": self._columns, "single": self._single}[self.mapping](loop)
        arguments = ", ".join([*(f"{name}_" for name, _ in self.pointers), *self.words])
        kernel = f"def kernel({arguments}):\n{indent(self._begin(), 1)}{body}"
        return "\n\n".join([HEADER, *(inlined(name, functions[name]) for name in called), kernel])

    def _begin(self) -> list[str]:
        """The first round takes back that a second is asked for; which is over at once if it is not."""
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
            + indent([*self._row(loop), *self._walk("i"), *self._group(loop, "lanes")], 4)
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
            + indent([*self._row(loop), *self._walk("i")], 3)
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
            + indent([*self._row(loop), *self._walk("i")], 2)
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

    def _walk(self, index: str) -> list[str]:
        places = [(each.name, f"{each.name}_at", f"{each.name}_row") for each in self.arrays if each.along]
        return find(index, "w", self.walk, places)

    def _group(self, loop: Loop, step: str) -> list[str]:
        """Terms of a group, added up in their own type; of a whole one, all elements are asked for at once."""
        walked = [each for each in self.arrays if each.along]
        forward = advance(self.walk, [each.name for each in walked])
        whole: list[str] = []
        for k in range(GROUP):
            whole += [f"{each.name}_{k} = {loaded(each, f'{each.name}_at', self.dtype)}" for each in walked]
            whole += forward
        whole += [f"a, b = {self._terms(loop, '0')}"]
        for k in range(1, GROUP):
            whole += [f"c, d = {self._terms(loop, str(k))}", "a += c", "b += d"]
        each_load = [f"{each.name}_0 = {loaded(each, f'{each.name}_at', self.dtype)}" for each in walked]
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


# ---- Elements


@dataclass(frozen=True)
class Elements:
    """A kernel that computes results from elements and parameters, a thread some columns of a row.

    ``parameters`` are the function's, in order; for one that has no array there is a number, by its name.
    """

    function: str
    form: int
    arrays: tuple[Array, ...]
    parameters: tuple[Array | str, ...]
    dtype: str
    rows: int
    contiguous: bool

    scalars: ClassVar[tuple[str, ...]] = ()

    @property
    def all_arrays(self) -> tuple[Array, ...]:
        """Arrays, and parameters that have one."""
        return self.arrays + tuple(each for each in self.parameters if isinstance(each, Array))

    @property
    def pointers(self) -> list[tuple[str, str]]:
        """Names of the pointers, and what is there."""
        return [(each.name, each.storage) for each in self.all_arrays]

    @property
    def words(self) -> list[str]:
        """Names of the indices and sizes."""
        words = ["units", "chunks", "width", "columns", *extents("r", self.rows)]
        for each in self.all_arrays:
            words += [f"{each.name}_start", *strides(each.name, "r", self.rows)]
            words += [f"{each.name}_column"] if each.along and not self.contiguous else []
        return words

    @property
    def unroll(self) -> int:
        """Elements of a row that a thread has at a time: few where each has parameters of its own (89 registers)."""
        return 1 if sum(each.along for each in self.all_arrays) > 6 else unroll(len(self.arrays))

    def text(self, source: str) -> str:
        """The module."""
        loop, functions = loop_of(source, self.function, self.form)
        called = [loop.gradient if loop.backward else loop.finish, self.function]
        arguments = ", ".join([*(f"{name}_" for name, _ in self.pointers), *self.words])
        kernel = (
            f"def kernel({arguments}):\n"
            + indent([
                "thread = index(cuda.threadIdx.x)",
                "height = index(cuda.blockDim.x) // width",
                "unit = index(cuda.blockIdx.x) * height + thread // width",
                "while unit < units:",
                "    j0 = unit % chunks * width * unrolled + thread % width",
                *(f"    j{k} = j{k - 1} + width" for k in range(1, self.unroll)),
                "    row = unit // chunks",
                "    if j0 < columns:",
            ], 1)
            + indent([*self._row(), *self._elements(loop)], 3)
            + indent(["    unit += index(cuda.gridDim.x) * height"], 1)
        )  # fmt: skip
        return "\n\n".join([HEADER, *(inlined(name, functions[name]) for name in called), kernel])

    def _row(self) -> list[str]:
        """Where a row begins, and what is one value for all of it."""
        every = self.all_arrays
        lines = find("row", "r", self.rows, [(each.name, f"{each.name}_row", f"{each.name}_start") for each in every])
        lines += [f"{each.name} = {loaded(each, f'{each.name}_row', self.dtype)}" for each in every if not each.along]
        return lines

    def _elements(self, loop: Loop) -> list[str]:
        """All loads, then all arithmetic, then all stores: each but the first has a condition of its own."""
        read = [each for each in self.all_arrays if each.along and each.name not in loop.written]
        lines: list[str] = []
        for k in range(self.unroll):
            loads = [f"{each.name}_{k} = {loaded(each, self._place(each, k), self.dtype)}" for each in read]
            if k:
                lines += [f"{each.name}_{k} = zero" for each in read]
            lines += self._if_there(k, loads)
        for k in range(self.unroll):
            lines += self._element(loop, k)
        for k in range(self.unroll):
            written = [each for each in self.arrays if each.name in loop.written]
            values = {"out": f"out_{k}", "dresidual": f"gradient_{k}"}
            stores = [stored(each, self._place(each, k), values[each.name], self.dtype) for each in written]
            lines += self._if_there(k, stores)
        return lines

    def _if_there(self, k: int, lines: list[str]) -> list[str]:
        return [f"if j{k} < columns:", *(f"    {line}" for line in lines)] if k else lines

    def _place(self, array: Array, k: int) -> str:
        return f"{array.name}_row + j{k}" + ("" if self.contiguous else f" * {array.name}_column")

    def _element(self, loop: Loop, k: int) -> list[str]:
        """What is done with a thread's k-th element."""
        names = {name: f"{name}_{k}" for name in loop.read}
        values = [self._parameter(each, k) for each in self.parameters]
        lines = []
        if loop.backward:
            lines += [f"gradient_{k} = {loop.gradient}({names['dy']}, {names.get('y', names['dy'])})"]
            names["dy"] = f"gradient_{k}"
        result = f"{self.function}({', '.join([*(names[name] for name in loop.function.arrays), *values])})"
        if not loop.backward:
            result = f"{loop.finish}({result}, {names.get('residual', names['x'])})"
        return [*lines, f"out_{k} = {result}"]

    def _parameter(self, parameter: Array | str, k: int) -> str:
        if isinstance(parameter, str):
            return parameter
        return f"{parameter.name}_{k}" if parameter.along else parameter.name
