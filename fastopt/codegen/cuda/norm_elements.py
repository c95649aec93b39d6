"""Generates the CUDA kernels that compute a norm's elements, without float64 except for float64 arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .kernel import framed
from .norm import NUMBERS, Array, LoopKernel
from .places import advance, digits, extents, find, steps, strides
from .update import unroll

ROWS = """\
thread = index(cuda.threadIdx.x)
height = index(cuda.blockDim.x) // width
unit = index(cuda.blockIdx.x) * height + thread // width
while unit < units:
    j0 = unit % chunks * width * unrolled + thread % width
    {columns}
    row = unit // chunks
    if j0 < columns:
        {row}
        {elements}
    unit += index(cuda.gridDim.x) * height
"""

COLUMNS = """\
thread = index(cuda.threadIdx.x)
height = index(cuda.blockDim.x) // width
unit = index(cuda.blockIdx.x)
while unit < units:
    j = unit % chunks * width + thread % width
    i0 = unit // chunks * span + thread // width
    end = min(unit // chunks * span + span, length)
    if j < columns:
        {column}
        while i0 < end:
            {rows}
            {elements}
            i0 += height * unrolled
    unit += index(cuda.gridDim.x)
"""


@dataclass(frozen=True)
class Elements(LoopKernel):
    """A kernel that computes results from elements and parameters; a thread processes some columns of a row.

    ``parameters`` holds the function's parameters in order; one without an array is a number of that name.
    """

    parameters: tuple[Array | str, ...]
    contiguous: bool

    @property
    def all_arrays(self) -> tuple[Array, ...]:
        """Arrays, and parameters that are arrays."""
        return self.arrays + tuple(each for each in self.parameters if isinstance(each, Array))

    @property
    def words(self) -> list[str]:
        words = ["units", "chunks", "width", "columns", *extents("r", self.rows)]
        for each in self.all_arrays:
            words += [f"{each.name}_start", *strides(each.name, "r", self.rows)]
            words += [f"{each.name}_column"] if each.along and not self.contiguous else []
        return words

    @property
    def unroll(self) -> int:
        """Elements of a row per thread and iteration: few if each has parameters of its own (89 registers)."""
        return 1 if sum(each.along for each in self.all_arrays) > 6 else unroll(len(self.arrays))

    @property
    def numbers(self) -> Mapping[str, float]:
        return {**NUMBERS, "unrolled": self.unroll}

    @property
    def called(self) -> tuple[str, ...]:
        return self.loop.gradient if self.loop.backward else self.loop.finish, self.function

    def body(self) -> list[str]:
        """A unit is the elements of a row that some threads process in one iteration."""
        columns = [f"j{k} = j{k - 1} + width" for k in range(1, self.unroll)]
        row = self.find_row()
        row += [f"{each.name} = {self.load(each, f'{each.name}_row')}" for each in self.all_arrays if not each.along]
        return framed(ROWS, columns=columns, row=row, elements=self._elements())

    def _elements(self) -> list[str]:
        """All loads, then all arithmetic, then all stores; each element but the first is guarded by a condition."""
        read = [each for each in self._along_row() if each.name not in self.loop.written]
        lines: list[str] = []
        for k in range(self.unroll):
            loads = [f"{each.name}_{k} = {self.load(each, self._place(each, k))}" for each in read]
            if k:
                lines += [f"{each.name}_{k} = zero" for each in read]
            lines += [*self._if_there(k, loads), *self._next(k)]
        for k in range(self.unroll):
            lines += self._element(k)
        for k in range(self.unroll):
            values = {"out": f"out_{k}", "dresidual": f"gradient_{k}"}
            written = [each for each in self.arrays if each.name in self.loop.written]
            lines += self._if_there(k, [self.store(each, self._place(each, k), values[each.name]) for each in written])
        return lines

    def _along_row(self) -> list[Array]:
        """The arrays with one element per thread and index."""
        return [each for each in self.all_arrays if each.along]

    def _if_there(self, k: int, lines: list[str]) -> list[str]:
        return [f"if j{k} < columns:", *(f"    {line}" for line in lines)] if k else lines

    def _next(self, k: int) -> list[str]:
        """The lines between one element and the next."""
        return []

    def _place(self, array: Array, k: int) -> str:
        return f"{array.name}_row + j{k}" + ("" if self.contiguous else f" * {array.name}_column")

    def _element(self, k: int) -> list[str]:
        """The lines that compute a thread's k-th element."""
        loop = self.loop
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


@dataclass(frozen=True)
class ColumnElements(Elements):
    """The same for parameters that vary along columns but not between rows: a thread processes part of a column.

    Parameters are then loaded once for many rows, and positions are found by increments.
    """

    @property
    def words(self) -> list[str]:
        words = ["units", "chunks", "width", "columns", "length", "span", *extents("w", self.rows), *digits(self.rows)]
        for each in self.all_arrays:
            words += [f"{each.name}_start"] + [f"{each.name}_column"] * (not self.contiguous)
        for each in self.arrays:
            words += [*strides(each.name, "w", self.rows), *steps(each.name, self.rows)]
        return words

    @property
    def unroll(self) -> int:
        """Elements of a column per thread and iteration."""
        return unroll(len(self.arrays))

    def body(self) -> list[str]:
        """A unit is some columns of a span of rows, which several threads per column share in turn."""
        starts = {
            each: f"{each.name}_start + j" + ("" if self.contiguous else f" * {each.name}_column")
            for each in self.all_arrays
        }
        own = [each for each in self.parameters if isinstance(each, Array)]
        column = [f"{each.name} = {self.load(each, starts[each])}" for each in own]
        column += find("i0", "w", self.rows, [(each.name, f"{each.name}_at", starts[each]) for each in self.arrays])
        rows = [f"i{k} = i{k - 1} + height" for k in range(1, self.unroll)]
        return framed(COLUMNS, column=column, rows=rows, elements=self._elements())

    def _if_there(self, k: int, lines: list[str]) -> list[str]:
        return [f"if i{k} < end:", *(f"    {line}" for line in lines)] if k else lines

    def _along_row(self) -> list[Array]:
        return list(self.arrays)

    def _next(self, k: int) -> list[str]:
        names = [each.name for each in self.arrays]
        return [*(f"{name}_at_{k} = {name}_at" for name in names), *advance(self.rows, names)]

    def _place(self, array: Array, k: int) -> str:
        return f"{array.name}_at_{k}" if array.name in ("out", "dresidual") else f"{array.name}_at"

    def _parameter(self, parameter: Array | str, k: int) -> str:
        return parameter if isinstance(parameter, str) else parameter.name
