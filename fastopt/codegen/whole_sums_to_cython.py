"""Writes the norms' kernels that add up whole rows, or whole columns, by themselves, in Cython, with another's loops.

To call that one for every row takes 80 ns (layer norm forward, 1024x1024, one thread: 0.28 ns an element; 0.24); and
the lanes of columns, the engine adds up with the instructions that every processor has (batch norm, 256x64: forward
5.6 us, 5.3 here; backward 6.7, 6.4).
"""

from __future__ import annotations

import textwrap

from .cython_loops import pointer
from .panel_text import ARRAYS, COLUMNS, GROUP, LANES, PARAMETER, ROW, ROWS, STEP, STRIPE, SUM, SUM_STEP, Loop
from .sums_to_cython import Sums


def whole_sums(loop: Loop) -> str:
    """A kernel that adds up each of its rows, or of its columns, by itself."""
    kernel = _WholeSums(loop)
    return kernel.rows_by_themselves() if ROW in loop.panel.along else kernel.columns_by_themselves()


class _WholeSums(Sums):
    def columns_by_themselves(self) -> str:
        """Groups of rows in every lane, and then the lanes are added up."""
        lines = [f"if sizes[{ROWS}] <= {GROUP * LANES}:", *_indented(self.one_panel())]
        lines += [f"elif sizes[{ROWS}] <= {2 * GROUP * LANES}:", *_indented(self.two_panels())]
        lines += ["else:", *_indented(self.many_panels())]
        lines += [f"for i_ in range(sizes[{COLUMNS}]):"]
        lines += [
            f"    (<sums_t>arrays[{SUM + i}])[i_ * sizes[{SUM_STEP}]] = {each}[i_]"
            for i, each in enumerate(("first_", "second_"))
        ]
        declared = [f"{self.real} {terms}[{2 * LANES * STRIPE}]" for terms in ("a_", "b_")]
        declared += [f"double {lanes}[{LANES * STRIPE}]" for lanes in ("c_", "d_")]
        declared += [f"double {sums}[{STRIPE}]" for sums in ("first_", "second_")]
        return (
            f"cdef void {self.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, rows_, r = 0\n"
            f"{''.join(f'    cdef {each}{chr(10)}' for each in declared)}"
            f"{textwrap.indent(chr(10).join(lines), ' ' * 4)}"
        )

    # Lanes are float64: to clear them, to add to them and to read them again takes as long as all else if rows are few,
    # and they do not stay in the first cache while panels of two arrays pass through it. Of one or two panels, terms
    # can wait in their own type (forward, 32x1000: 30 -> 22 us, 100x128: 6.7 -> 5.6; backward, 32x1000: 31 -> 20,
    # 256x64: 6.5 -> 6.0). Those of rows that are missing are 0; of columns that are, anything.

    @property
    def wide(self) -> str:
        """What is part of the name of a function of float64 terms."""
        return "wide_" if self.loop.panel.wide else ""

    def one_panel(self) -> list[str]:
        """The panel's terms are the lanes."""
        return [
            f"rows_ = sizes[{ROWS}]",
            self.waiting_stripe(at=0),
            f"for i_ in range(rows_ * {STRIPE}, {LANES * STRIPE}):",
            "    a_[i_] = b_[i_] = 0",
            *_added_up(f"sum_of_{self.wide}terms", "a_ + i_", "b_ + i_"),
        ]

    def two_panels(self) -> list[str]:
        """The terms of both wait, and are added up in passing."""
        size = LANES * STRIPE
        return [
            f"rows_ = {GROUP * LANES}",
            self.waiting_stripe(at=0),
            "r = rows_",
            f"rows_ = sizes[{ROWS}] - r",
            self.waiting_stripe(at=size),
            f"for i_ in range({size} + rows_ * {STRIPE}, {2 * size}):",
            "    a_[i_] = b_[i_] = 0",
            *_added_up(f"sum_of_two_{self.wide}panels", "a_ + i_", "b_ + i_"),
        ]

    def many_panels(self) -> list[str]:
        """One after the other joins the lanes."""
        return [
            f"for i_ in range({LANES * STRIPE}):",
            "    c_[i_] = d_[i_] = 0",
            f"while r < sizes[{ROWS}]:",
            f"    rows_ = min(<Py_ssize_t>{GROUP * LANES}, sizes[{ROWS}] - r)",
            *_indented(self.in_lanes("rows_", str(STRIPE), "c_, d_")),
            "    r += rows_",
            *_added_up("sum_of_lanes", f"c_ + i_, {STRIPE}", f"d_ + i_, {STRIPE}"),
        ]

    def waiting_stripe(self, at: int) -> str:
        """The call of the loop that leaves the terms of rows_ rows, from row r on, in that place."""
        return f"{self.lender}_stripe(rows_, sizes[{COLUMNS}], {self.called}, a_ + {at}, b_ + {at})"

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


def _added_up(function: str, first: str, second: str) -> list[str]:
    """Each column's sums are what a function makes of this."""
    return [
        f"for i_ in range({STRIPE}):",
        f"    first_[i_] = {function}({first})",
        f"    second_[i_] = {function}({second})",
    ]
