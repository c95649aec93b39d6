"""Writes the norms' kernels that add up whole rows, or whole columns, by themselves, in Cython, with another's loops.

To call that one for every row takes 80 ns (layer norm forward, 1024x1024, one thread: 0.28 ns an element; 0.24); and
the lanes of columns, the engine adds up with the instructions that every processor has (batch norm, 256x64: forward
5.6 us, 5.3 here; backward 6.7, 6.4).
"""

from __future__ import annotations

import textwrap

from .cython_loops import pointer
from .panel_text import AHEAD, ARRAYS, COLUMNS, GROUP, LANES, PARAMETER, ROW, ROWS, STEP, STRIPE, SUM, SUM_STEP, Loop
from .sums_to_cython import Sums


def whole_sums(loop: Loop) -> str:
    """A kernel that adds up each of its rows, or of its columns, by itself."""
    kernel = _WholeSums(loop)
    return kernel.rows_by_themselves() if ROW in loop.panel.along else kernel.columns_by_themselves()


class _WholeSums(Sums):
    def columns_by_themselves(self) -> str:
        """Groups of rows in every lane, and then the lanes are added up."""
        lines = self.two_panels_wait() if self.in_turn_too else self.lanes_wait()
        lines += [f"for i_ in range(sizes[{COLUMNS}]):"]
        lines += [
            f"    (<sums_t>arrays[{SUM + i}])[i_ * sizes[{SUM_STEP}]] = {each}[i_]"
            for i, each in enumerate(("first_", "second_"))
        ]
        declared = [f"{self.real} {terms}[{2 * LANES * STRIPE}]" for terms in ("a_", "b_") if self.in_turn_too]
        declared += [f"double {lanes}[{LANES * STRIPE}]" for lanes in ("c_", "d_")]
        declared += [f"double {sums}[{STRIPE}]" for sums in ("first_", "second_")]
        return (
            f"cdef void {self.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, at_, rows_, joins_, r = 0\n"
            f"{''.join(f'    cdef {each}{chr(10)}' for each in declared)}"
            f"{textwrap.indent(chr(10).join(lines), ' ' * 4)}"
        )

    def lanes_wait(self) -> list[str]:
        """Panel after panel joins the lanes."""
        return [
            *_cleared("c_", "d_"),
            f"while r < sizes[{ROWS}]:",
            f"    rows_ = min(<Py_ssize_t>{GROUP * LANES}, sizes[{ROWS}] - r)",
            *(f"    {line}" for line in self.in_lanes("rows_", str(STRIPE), "c_, d_")),
            "    r += rows_",
            *_lanes_added_up(),
        ]

    def two_panels_wait(self) -> list[str]:
        """Two panels' terms wait, and then join the lanes; where there are no more, they are added up without.

        Lanes are float64, and do not stay in the first cache while panels of two arrays pass through it (256x64: up to
        6.9 us with them, 6.0 so). The terms of rows that are missing are 0; of columns that are, anything.
        """
        whole, size, rows = GROUP * LANES, LANES * STRIPE, f"sizes[{ROWS}]"
        given = f"rows_, sizes[{COLUMNS}]"
        return [
            f"joins_ = {rows} > {2 * whole}",
            "if joins_:",
            *_indented(_cleared("c_", "d_")),
            f"while r < {rows}:",
            f"    rows_ = min(<Py_ssize_t>{whole}, {rows} - r)",
            f"    at_ = r // {whole} % 2 * {size}",
            f"    if rows_ < {LANES}:",
            *_indented(_indented(_cleared("a_", "b_", start="at_"))),
            f"    if at_ == 0 and r + {whole} >= {rows}:",
            *_indented(_indented(_cleared("a_", "b_", start=str(size)))),
            f"    if sizes[{AHEAD}]:",
            f"        {self.lender}_stripe_far({given}, {self.given_ahead}{self.called}, a_ + at_, b_ + at_)",
            "    else:",
            f"        {self.lender}_stripe({given}, {self.called}, a_ + at_, b_ + at_)",
            "    r += rows_",
            f"    if joins_ and (at_ != 0 or r == {rows}):",
            f"        for i_ in range({size}):",
            f"            c_[i_] = (c_[i_] + a_[i_]) + a_[{size} + i_]",
            f"            d_[i_] = (d_[i_] + b_[i_]) + b_[{size} + i_]",
            "if joins_:",
            *_indented(_lanes_added_up()),
            "else:",
            *_indented(_added_up(first="sum_of_waiting(a_ + i_)", second="sum_of_waiting(b_ + i_)")),
        ]

    def rows_by_themselves(self) -> str:
        """Whole groups of a row in line; of an incomplete one, the first lanes have one more."""
        loop, rest = self.loop, f"rest_ % {LANES}"
        values = [f"{name}_lanes_" for name in loop.function.scalars]
        arrays = [f"{name}_" for name in loop.read]
        declared = [f"{self.real} {value}[{LANES}]" for value in values]
        declared += [*(f"{pointer(name)} {name}_" for name in loop.read), f"double a_[{LANES}]", f"double b_[{LANES}]"]
        started = [f"{name}_ = <{pointer(name)}>arrays[{slot}] + r_ * sizes[{STEP + slot}]"
                   for name, slot in ((name, ARRAYS.index(name)) for name in loop.read)]  # fmt: skip
        filled = [f"{value}[i_] = (<{self.pointer}>arrays[{PARAMETER + i}])[r_]" for i, value in enumerate(values)]

        def added(which: str, sizes: str, column: str, lane: str) -> str:
            given = [each for array in arrays for each in (f"{array} + {column}", str(LANES))]
            given += [f"{each} + {lane}" for each in (*values, "a_", "b_")]
            return f"{self.lender}_{which}({sizes}{', '.join(given)})"

        each_row = [
            *started,
            f"for i_ in range({LANES}):",
            *(f"    {line}" for line in (*filled, "a_[i_] = 0", "b_[i_] = 0")),
            added("line", f"whole_ // {GROUP * LANES}, {self.given_ahead}", "0", "0"),
            "if rest_:",
            "    " + added("all", f"rest_ // {LANES} + 1, {rest}, ", "whole_", "0"),
            "    " + added("all", f"rest_ // {LANES}, {LANES} - {rest}, ", f"whole_ + {rest}", rest),
            *(f"(<sums_t>arrays[{SUM + i}])[r_ * sizes[{SUM_STEP}]] = sum_of_lanes({lanes}, 1)"
              for i, lanes in enumerate(("a_", "b_"))),
        ]  # fmt: skip
        return (
            f"cdef void {self.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, r_, rest_ = sizes[{COLUMNS}] % {GROUP * LANES}\n"
            f"    cdef Py_ssize_t whole_ = sizes[{COLUMNS}] - rest_\n"
            f"{''.join(f'    cdef {each}{chr(10)}' for each in declared)}"
            f"    for r_ in range(sizes[{ROWS}]):\n{textwrap.indent(chr(10).join(each_row), ' ' * 8)}"
        )


# ---- Lines of what adds up columns


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _cleared(*arrays: str, start: str = "0") -> list[str]:
    """One value for every lane of every column, from a position on, is 0."""
    return [f"for i_ in range({LANES * STRIPE}):", f"    {' = '.join(f'{name}[{start} + i_]' for name in arrays)} = 0"]


def _added_up(first: str, second: str) -> list[str]:
    """Each column's sums are these."""
    return [f"for i_ in range({STRIPE}):", f"    first_[i_] = {first}", f"    second_[i_] = {second}"]


def _lanes_added_up() -> list[str]:
    return _added_up(first=f"sum_of_lanes(c_ + i_, {STRIPE})", second=f"sum_of_lanes(d_ + i_, {STRIPE})")
