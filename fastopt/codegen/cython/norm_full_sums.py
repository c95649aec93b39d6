"""Generates the norms' kernels that write full sums of rows or columns, in Cython, using another kernel's loops.

A call of that kernel for every row would take 80 ns (layer norm forward, 1024x1024, one thread: 0.28 ns an element;
0.24 here). The engine would add the lanes of columns with baseline instructions (batch norm, 256x64: forward 5.6 us,
5.3 here; backward 6.7, 6.4).
"""

from __future__ import annotations

from fastopt.specs.norms import (
    AHEAD,
    ARRAYS,
    PARAMETER,
    ROW,
    STEP,
    STRIPE,
    SUM,
    SUM_STEP,
    TILE_COLUMNS,
    TILE_ROWS,
    WORK,
)
from fastopt.specs.sums import GROUP, LANES

from ..norm import Loop
from .loops import pointer
from .norm_sums import Sums

#: Groups of a row
WHOLE_GROUPS = f"whole_ // {GROUP * LANES}"


def full_sums(loop: Loop) -> str:
    """A kernel that adds up each of its rows or columns separately."""
    kernel = _FullSums(loop)
    if loop.kernel.scattered:
        return kernel.scattered_row()
    return kernel.rows_by_themselves() if ROW in loop.kernel.along else kernel.columns_by_themselves()


class _FullSums(Sums):
    def __init__(self, loop: Loop):
        super().__init__(loop)
        self.wide = "wide_" * loop.kernel.wide  # part of the name of a function for float64 terms
        self.lanes_of_row = [f"{name}_lanes_" for name in loop.function.scalars]  # its parameters for every lane
        self.sums_of_row = ", ".join((*self.lanes_of_row, "a_", "b_"))  # the loop's last arguments

    def columns_by_themselves(self) -> str:
        """Add groups of rows in every lane, then add the lanes."""
        lines = [f"if sizes[{TILE_ROWS}] <= {GROUP * LANES}:", *_indented(self.one_tile())]
        lines += [f"elif sizes[{TILE_ROWS}] <= {2 * GROUP * LANES}:", *_indented(self.two_tiles())]
        lines += ["else:", *_indented(self.many_tiles())]
        lines += [f"for i_ in range(sizes[{TILE_COLUMNS}]):", *_indented(_stored("i_", "first_[i_]", "second_[i_]"))]
        declared = ["Py_ssize_t i_, rows_, r = 0"]
        declared += [f"{self.real} *a_ = <{self.real} *>arrays[{WORK}]", f"{self.real} *b_ = a_ + {2 * LANES * STRIPE}"]
        declared += [f"double *c_ = <double *>(b_ + {2 * LANES * STRIPE})", f"double *d_ = c_ + {LANES * STRIPE}"]
        declared += [f"double {sums}[{STRIPE}]" for sums in ("first_", "second_")]
        return self.kernel_of(declared, lines)

    # Lanes are float64: if there are few rows, clearing, updating and reading them takes as long as everything else,
    # and they are evicted from the first-level cache while tiles of two arrays pass through it. For one or two tiles,
    # terms are stored in their own type instead (forward, 32x1000: 30 -> 22 us, 100x128: 6.7 -> 5.6; backward, 32x1000:
    # 31 -> 20, 256x64: 6.5 -> 6.0). Terms of missing rows are 0; those of missing columns are undefined.

    def one_tile(self) -> list[str]:
        """Use the tile's terms as lanes."""
        return [
            f"rows_ = sizes[{TILE_ROWS}]",
            self.waiting_stripe(at=0),
            f"for i_ in range(rows_ * {STRIPE}, {LANES * STRIPE}):",
            "    a_[i_] = b_[i_] = 0",
            *_added_up(f"sum_of_{self.wide}terms", "a_ + i_", "b_ + i_"),
        ]

    def two_tiles(self) -> list[str]:
        """Store the terms of both tiles, and add them when the lanes are added."""
        size = LANES * STRIPE
        return [
            f"rows_ = {GROUP * LANES}",
            self.waiting_stripe(at=0),
            "r = rows_",
            f"rows_ = sizes[{TILE_ROWS}] - r",
            self.waiting_stripe(at=size),
            f"for i_ in range({size} + rows_ * {STRIPE}, {2 * size}):",
            "    a_[i_] = b_[i_] = 0",
            *_added_up(f"sum_of_two_{self.wide}tiles", "a_ + i_", "b_ + i_"),
        ]

    def many_tiles(self) -> list[str]:
        """Add one tile after the other to the lanes."""
        return [
            f"for i_ in range({LANES * STRIPE}):",
            "    c_[i_] = d_[i_] = 0",
            f"while r < sizes[{TILE_ROWS}]:",
            f"    rows_ = min(<Py_ssize_t>{GROUP * LANES}, sizes[{TILE_ROWS}] - r)",
            *_indented(self.in_lanes("rows_", str(STRIPE), "c_, d_")),
            "    r += rows_",
            *_added_up("sum_of_lanes", f"c_ + i_, {STRIPE}", f"d_ + i_, {STRIPE}"),
        ]

    def waiting_stripe(self, at: int) -> str:
        """Return the call of the loop that writes the terms of rows_ rows, starting at row r, to ``place``."""
        return f"{self.lender}_stripe(rows_, sizes[{TILE_COLUMNS}], {self.called}, a_ + {at}, b_ + {at})"

    def rows_by_themselves(self) -> str:
        """Process rows in order."""
        arrays, slots = [f"{name}_" for name in self.loop.read], [(name, ARRAYS.index(name)) for name in self.loop.read]
        started = [f"{name}_ = <{pointer(name)}>arrays[{i}] + r_ * sizes[{STEP + i}]" for name, i in slots]
        given = f"{WHOLE_GROUPS}, {self.given_ahead}{', '.join(_by_lanes(arrays, '0'))}, {self.sums_of_row}"
        groups = [f"{self.lender}_line({given})"]
        each_row = [*started, *self.row(groups, [f"{array} + whole_" for array in arrays])]
        declared = [f"{pointer(name)} {name}_" for name in self.loop.read]
        return self.kernel_of_row(declared, [f"for r_ in range(sizes[{TILE_ROWS}]):", *_indented(each_row)])

    def scattered_row(self) -> str:
        """Process one row in pieces, with tables of their addresses; the last piece is the remainder."""
        arrays = [f"{name}_" for name in self.loop.read]
        started = [f"{name}_ = <tables_t>arrays[{ARRAYS.index(name)}]" for name in self.loop.read]
        given = f"{', '.join(arrays)}, {self.sums_of_row}"
        groups = [f"if sizes[{AHEAD}]:"]
        groups += [f"    {self.lender}_scattered_prefetch({WHOLE_GROUPS}, {self.given_ahead}{given})", "else:"]
        groups += [f"    {self.lender}_scattered({WHOLE_GROUPS}, {given})"]
        row = self.row(groups, [f"{array}[whole_ // {LANES}]" for array in arrays])
        return self.kernel_of_row([f"tables_t {name}_" for name in self.loop.read], ["r_ = 0", *started, *row])

    def kernel_of_row(self, declared: list[str], lines: list[str]) -> str:
        """Return a kernel with these lines and the local variables of a row."""
        sizes = [f"Py_ssize_t i_, r_, rest_ = sizes[{TILE_COLUMNS}] % {GROUP * LANES}"]
        sizes += [f"Py_ssize_t whole_ = sizes[{TILE_COLUMNS}] - rest_"]
        declared += [f"{self.real} {lanes}[{LANES}]" for lanes in self.lanes_of_row]
        declared += [f"double {sums}[{LANES}]" for sums in ("a_", "b_")]
        return self.kernel_of(sizes + declared, lines)

    def kernel_of(self, declared: list[str], lines: list[str]) -> str:
        body = "\n".join(_indented([*(f"cdef {each}" for each in declared), *lines]))
        return f"cdef void {self.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n{body}"

    def row(self, groups: list[str], rests: list[str]) -> list[str]:
        """Process row r_: whole groups, then the rest of each array, of which the first lanes have one more element."""
        rest = f"rest_ % {LANES}"
        values = self.lanes_of_row
        filled = [f"{value}[i_] = (<{self.pointer}>arrays[{PARAMETER + i}])[r_]" for i, value in enumerate(values)]

        def left_over(rows: str, columns: str, lane: str) -> str:
            given = [*_by_lanes(rests, lane), *(f"{each} + {lane}" for each in (*values, "a_", "b_"))]
            return f"    {self.lender}_all({rows}, {columns}, {', '.join(given)})"

        return [
            f"for i_ in range({LANES}):",
            *_indented([*filled, "a_[i_] = 0", "b_[i_] = 0"]),
            *groups,
            "if rest_:",
            left_over(f"rest_ // {LANES} + 1", rest, "0"),
            left_over(f"rest_ // {LANES}", f"{LANES} - {rest}", rest),
            *_stored("r_", "sum_of_lanes(a_, 1)", "sum_of_lanes(b_, 1)"),
        ]


# ---- Common lines


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _stored(index: str, *sums: str) -> list[str]:
    """Write the sums of a row or a column."""
    return [f"(<sums_t>arrays[{SUM + i}])[{index} * sizes[{SUM_STEP}]] = {each}" for i, each in enumerate(sums)]


def _by_lanes(arrays: list[str], lane: str) -> list[str]:
    """Return a loop's arguments for arrays with rows of lanes, starting at a lane."""
    return [each for array in arrays for each in (f"{array} + {lane}", str(LANES))]


def _added_up(function: str, first: str, second: str) -> list[str]:
    """Return the loop that computes each column's sums with this function."""
    return [
        f"for i_ in range({STRIPE}):",
        f"    first_[i_] = {function}({first})",
        f"    second_[i_] = {function}({second})",
    ]
