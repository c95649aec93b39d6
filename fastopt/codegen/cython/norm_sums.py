"""Generates the norms' kernels that compute sums, in Cython: one tree of sums, and several orders of reading a tile.

All of them add groups of GROUP rows column by column, then add the result to the columns' sums. They differ in the data
that stay in registers or cache, and so in the order of memory accesses.
"""

from __future__ import annotations

import textwrap

from fastopt.specs.norms import AHEAD, ARRAYS, ROW, STEP, STRIPE, SUM, SUM_STEP, TILE_COLUMNS, TILE_ROWS
from fastopt.specs.sums import GROUP, LANES

from ..norm import Loop
from .loops import arguments, prefetch_l2, values

#: If rows are at least this many elements apart, half a group is read at a time: for two arrays, 8 rows at a distance
#: of 4 KiB (every 16th pixel of 64 channels) exceed the 8 ways of a small L1 cache: 0.33 ns an element instead of 0.23.
APART = 256

#: Columns of half a group with sums that are stored on the stack in between.
COLUMNS_AT_ONCE = 256

#: Rows of a lane that are read together if lanes take turns: this halves loads and stores of stored terms (batch norm
#: backward, 1x56x56x64: 0.15 ns an element, 0.24 lane by lane; four rows are 16 streams of memory: 0.2).
PAIR = 2

#: The lines that a loop executes with u_ and v_
WAIT = ("a_[i_] = u_", "b_[i_] = v_")
GO_ON = ("u_ = a_[i_]", "v_ = b_[i_]")
JOIN = ("first_[i_] += u_", "second_[i_] += v_")
SUMS = "sums_t first_, sums_t second_"


def sums(loop: Loop) -> str:
    """A kernel that adds terms to the sums of their columns."""
    return Sums(loop).kernel()


class Sums:
    """The loops of one kernel, and their common parts."""

    def __init__(self, loop: Loop):
        self.loop = loop
        self.name = loop.name  # of the kernel; the prefix of its loops
        #: The kernel that defines the loops
        self.lender = f"{loop.kernel.loops}_kernel{loop.variant}" if loop.kernel.loops else loop.name
        self.several = len(loop.function.arrays) > 1  # whether several arrays are read
        #: Whether rows that belong to lanes in turn may also be read in turn.
        self.in_turn_too = loop.kernel.in_turn and self.several
        #: The type of the terms, and the pointer type of the terms and parameters
        self.real, self.pointer = ("double", "sums_t") if loop.kernel.wide else ("real", "run_t")
        #: The parameters of each loop, and the arguments that a kernel passes for row r: arrays and parameters
        self.taken = ", ".join(arguments(loop, loop.read, self.pointer))
        self.called = ", ".join(values(loop, loop.read, self.pointer))
        #: The arrays that loops prefetch; for samples with weights it is faster not to (layer norm backward, 8192x1024:
        #: 3.7 ms instead of 4.0).
        self.prefetched = () if "weight" in loop.read else loop.read
        #: The prefetch distances, the first parameters of prefetching loops; arguments in kernels, and in other loops
        self.taken_ahead = "".join(f"Py_ssize_t {name}_ahead_, " for name in self.prefetched)
        self.given_ahead = "".join(f"sizes[{AHEAD + ARRAYS.index(name)}], " for name in self.prefetched)
        self.ahead = "".join(f"{name}_ahead_, " for name in self.prefetched)
        self.by_row = [name for name, along in loop.parameters if along == ROW]  # the parameters with one value per row
        #: The buffer for a part of a group
        self.waiting = f"{self.pointer} a_, {self.pointer} b_"
        #: The arguments that a loop over rows passes to another loop, starting at column c_
        self.given_column = [each for name in loop.read for each in (f"{name}_ + c_", f"{name}_step_")]
        self.given_column += [f"{name} + c_" for name in loop.function.scalars]

    def given(self, column: str) -> str:
        """Return the arguments that a loop passes to another loop, starting at row r_ and a column."""
        arrays = [each for name in self.loop.read
                  for each in (f"{name}_ + r_ * {name}_step_ + {column}", f"{name}_step_")]  # fmt: skip
        moved = [f"{name} + {'r_' if name in self.by_row else column}" for name in self.loop.function.scalars]
        return ", ".join(arrays + moved)

    def kernel(self) -> str:
        """Return all loops, and the kernel that selects one of them."""
        rows, columns, sum_step = (f"sizes[{size}]" for size in (TILE_ROWS, TILE_COLUMNS, SUM_STEP))
        in_line = [f"{columns} == {LANES}"]
        in_line += [f"sizes[{STEP + ARRAYS.index(name)}] == {LANES}" for name in self.loop.read]
        sums = ", ".join(f"<sums_t>arrays[{SUM + i}]" for i in range(2))
        called = f"{self.called}, {sums}"
        in_lanes, in_turn = [], self.loop.kernel.in_turn
        if in_turn:
            in_lanes = [f"if {sum_step}:"]
            in_lanes += [f"    {line}" for line in (*self.in_lanes(rows, sum_step, sums), "return")]
        half = [*GO_ON, *self.more(range(GROUP // 2, GROUP)), *JOIN]
        loops = [self.columns("group", [*self.begun(GROUP), *JOIN], SUMS), self.first(GROUP // 2)]
        loops += [self.columns("second_half", half, f"{self.waiting}, {SUMS}"), self.first(1), self.added(1)]
        loops += [self.apart(), self.all_rows(), self.line()]
        if in_turn:
            loops += [self.scattered(False), self.scattered(True)]
            loops += [self.first(PAIR), self.added(PAIR), self.stripe(False), self.lane_by_lane()]
            loops += [self.stripe(True), self.in_turn(False), self.in_turn(True)] * self.in_turn_too
            loops += [self.group_prefetch(), self.lane_by_lane_prefetch()] * (not self.in_turn_too)
        return "\n\n".join(loops) + (
            f"\n\ncdef void {self.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n"
            f"    cdef Py_ssize_t r = 0\n"
            f"{''.join(f'    {line}{chr(10)}' for line in in_lanes)}"
            f"    if {' and '.join(in_line)}:\n"
            f"        {self.name}_line({rows} // {GROUP}, {self.given_ahead}{called})\n"
            f"        r = {rows} // {GROUP} * {GROUP}\n"
            f"    {self.name}_all({rows} - r, {columns}, {called})"
        )

    # ---- Groups

    def terms(self, row: int) -> str:
        """Return the terms of the element in a row and column i_."""
        loop = self.loop
        elements = {name: f"{name}_[i_ + {row} * {name}_step_]" for name in loop.read}
        elements |= {name: f"loaded({elements[name]})" for name in loop.read if name != "weight"}
        if loop.backward:
            elements["dy"] = f"{loop.gradient}({elements['dy']}, {elements.get('y', elements['dy'])})"
        function = loop.kernel.name if loop.kernel.wide else loop.function.name
        taken = [elements[name] for name in loop.function.arrays]
        taken += [f"{name}[{row}]" if along == ROW else f"{name}[i_]" for name, along in loop.parameters]
        return f"{function}({', '.join(taken)})"

    def begun(self, rows: int) -> list[str]:
        """Compute u_ and v_, the sums of the first rows' terms in order."""
        return [f"t_ = {self.terms(0)}", "u_ = t_[0]", "v_ = t_[1]", *self.more(range(1, rows))]

    def more(self, rows: range) -> list[str]:
        """Add the terms of some rows to u_ and v_, in order."""
        return [line for row in rows for line in (f"t_ = {self.terms(row)}", "u_ += t_[0]", "v_ += t_[1]")]

    def columns(self, name: str, lines: list[str], more: str) -> str:
        """Return a loop over the columns of some rows."""
        return (
            f"cdef inline void {self.name}_{name}(Py_ssize_t n_, {self.taken}, {more}) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_\n    cdef {self.real} u_, v_\n    cdef ({self.real}, {self.real}) t_\n"
            f"    for i_ in range(n_):\n{textwrap.indent(chr(10).join(lines), ' ' * 8)}"
        )

    def first(self, rows: int) -> str:
        """Return the terms of a group's first rows."""
        return self.columns(f"first_{rows}", [*self.begun(rows), *WAIT], self.waiting)

    def added(self, rows: int) -> str:
        """Return the terms of a group's later rows."""
        return self.columns(f"added_{rows}", [*GO_ON, *self.more(range(rows)), *WAIT], self.waiting)

    # ---- Tiles with all rows in the same sums

    def apart(self) -> str:
        """Half groups in stripes of columns; the last group may have fewer rows."""
        given = self.given("c_")
        return (
            f"cdef void {self.name}_apart(Py_ssize_t rows_, Py_ssize_t n_, {self.taken}, sums_t first_, "
            f"sums_t second_) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, c_ = 0, r_, columns_\n"
            f"    cdef {self.real} a_[{COLUMNS_AT_ONCE}]\n    cdef {self.real} b_[{COLUMNS_AT_ONCE}]\n"
            f"    while c_ < n_:\n"
            f"        columns_ = min(<Py_ssize_t>{COLUMNS_AT_ONCE}, n_ - c_)\n"
            f"        r_ = 0\n"
            f"        while r_ + {GROUP} <= rows_:\n"
            f"            {self.name}_first_{GROUP // 2}(columns_, {given}, a_, b_)\n"
            f"            {self.name}_second_half(columns_, {given}, a_, b_, first_ + c_, second_ + c_)\n"
            f"            r_ += {GROUP}\n"
            f"        if r_ < rows_:\n"
            f"            {self.name}_first_1(columns_, {given}, a_, b_)\n"
            f"            for r_ in range(r_ + 1, rows_):\n"
            f"                {self.name}_added_1(columns_, {given}, a_, b_)\n"
            f"            for i_ in range(columns_):\n"
            f"                first_[c_ + i_] += a_[i_]\n                second_[c_ + i_] += b_[i_]\n"
            f"        c_ += columns_"
        )

    def all_rows(self) -> str:
        """Whole groups in registers, unless the cache's associativity prevents that, and the remaining rows."""
        near = f"{self.loop.read[0]}_step_ < {APART}" if self.several else "True"
        given = self.given("0")
        return (
            f"cdef inline void {self.name}_all(Py_ssize_t rows_, Py_ssize_t n_, {self.taken}, sums_t first_, "
            f"sums_t second_) noexcept nogil:\n"
            f"    cdef Py_ssize_t r_ = 0\n"
            f"    while {near} and r_ + {GROUP} <= rows_:\n"
            f"        {self.name}_group(n_, {given}, first_, second_)\n"
            f"        r_ += {GROUP}\n"
            f"    if r_ < rows_:\n"
            f"        {self.name}_apart(rows_ - r_, n_, {given}, first_, second_)"
        )

    def line(self) -> str:
        """Groups of a line with contiguous lanes: their sums stay in registers or in the cache.

        Uncached memory is prefetched (batch norm, NCHW 32x64x56x56: forward 1.4 -> 1.2 ms, backward 2.2 -> 2.0).
        """
        size = GROUP * LANES
        prefetches = [
            f"if {name}_ahead_:\n    {prefetch_l2(f'{name}_ + {name}_ahead_', size)}" for name in self.prefetched
        ]
        moves = [f"{name}_ += {size}" for name in self.loop.read]
        moves += [f"{name} += {GROUP}" for name in self.by_row]
        lines = self.begun(GROUP)
        for name in self.loop.read:
            lines = [line.replace(f"{name}_step_", str(LANES)) for line in lines]
        return self.groups("line", f"{self.taken_ahead}{self.taken}", [*prefetches, *_each_lane(lines), *moves])

    def scattered(self, prefetch: bool) -> str:
        """The same for rows of lanes at arbitrary addresses, which are in tables.

        Prefetching is relative to a group's first row, and has no effect if that is a copy joined from the ends of two
        runs. Without prefetching, a separate loop is used: the tests made it 6 % slower.
        """
        lines = self.begun(GROUP)
        for name in self.loop.read:
            for row in range(GROUP):
                lines = [line.replace(f"{name}_[i_ + {row} * {name}_step_]", f"{name}_[{row}][i_]") for line in lines]
        arrays = [f"tables_t {name}_" for name in self.loop.read]
        arrays += [f"{self.pointer} {name}" for name in self.loop.function.scalars]
        moves = [f"{name}_ += {GROUP}" for name in self.loop.read]
        prefetches = [prefetch_l2(f"{name}_[0] + {name}_ahead_", GROUP * LANES) for name in self.prefetched if prefetch]
        name, taken = "scattered" + "_prefetch" * prefetch, self.taken_ahead * prefetch + ", ".join(arrays)
        return self.groups(name, taken, [*prefetches, *_each_lane(lines), *moves])

    def groups(self, name: str, taken: str, lines: list[str]) -> str:
        """Return a loop over groups of a line, with the lanes' sums c_ and d_."""
        return (
            f"cdef void {self.name}_{name}(Py_ssize_t groups_, {taken}, {SUMS}) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, g_\n    cdef {self.real} u_, v_\n    cdef ({self.real}, {self.real}) t_\n"
            f"    cdef double c_[{LANES}]\n    cdef double d_[{LANES}]\n"
            f"    for i_ in range({LANES}):\n        c_[i_] = first_[i_]\n        d_[i_] = second_[i_]\n"
            f"    for g_ in range(groups_):\n{textwrap.indent(chr(10).join(lines), ' ' * 8)}\n"
            f"    for i_ in range({LANES}):\n        first_[i_] = c_[i_]\n        second_[i_] = d_[i_]"
        )

    # ---- Tiles with rows that belong to lanes in turn

    def in_lanes(self, rows: str, sum_step: str, sums: str) -> list[str]:
        """Return the kernel's lines for such rows, starting at row r."""
        given, called = f"({rows}, sizes[{TILE_COLUMNS}], {sum_step}, ", f"{self.called}, {sums})"
        order, is_group = ("in_turn", "") if self.in_turn_too else ("lane_by_lane", f" and {rows} == {GROUP * LANES}")
        prefetching = f"{self.lender}_{order}_prefetch{given}{self.given_ahead}{called}"
        in_turn = [f"elif sizes[{TILE_COLUMNS}] <= {STRIPE}:", f"    {self.lender}_in_turn{given}{called}"]
        in_turn *= self.in_turn_too
        by_lane = f"{self.lender}_lane_by_lane{given}{called}"
        return [f"if sizes[{AHEAD}]{is_group}:", f"    {prefetching}", *in_turn, "else:", f"    {by_lane}"]

    def group_prefetch(self) -> str:
        """A whole group of uncached memory, line by line, each prefetching the line at the given distance.

        The hardware does not predict accesses to rows at some distance from each other (the sums of batch norm forward,
        NHWC 32x56x56x64: 0.32 ms, without prefetching 0.38). Prefetching all lines of a group at once does not help.
        """
        prefetches = "".join(
            f"        for r_ in range({GROUP}):\n"
            f"            {prefetch_l2(f'{name}_ + {name}_ahead_ + r_ * {name}_step_ + c_', 'LINE')}\n"
            for name in self.prefetched
        )
        given = [*self.given_column, "first_ + c_", "second_ + c_"]
        return (
            f"cdef inline void {self.name}_group_prefetch(Py_ssize_t n_, {self.taken_ahead}{self.taken}, {SUMS}) "
            f"noexcept nogil:\n"
            f"    cdef Py_ssize_t r_, c_ = 0\n"
            f"    while c_ + LINE <= n_:\n{prefetches}"
            f"        {self.name}_group(LINE, {', '.join(given)})\n"
            f"        c_ += LINE\n"
            f"    {self.name}_group(n_ - c_, {', '.join(given)})"
        )

    def lane_by_lane(self) -> str:
        """The rows of one lane after those of another: whole groups, in registers."""
        return self.by_lane("lane_by_lane", "all", f"(rows_ - lane_ + {LANES - 1}) // {LANES}, n_", "", "")

    def lane_by_lane_prefetch(self) -> str:
        """The same with prefetching: a whole group of each lane."""
        return self.by_lane("lane_by_lane_prefetch", "group_prefetch", "n_", self.taken_ahead, self.ahead)

    def by_lane(self, name: str, rows: str, sizes: str, taken: str, given: str) -> str:
        """Return a loop over lanes that calls another loop for each lane's rows."""
        read = self.loop.read
        arrays = [each for name in read for each in (f"{name}_ + lane_ * {name}_step_", f"{LANES} * {name}_step_")]
        arrays += self.loop.function.scalars
        return (
            f"cdef void {self.name}_{name}(Py_ssize_t rows_, Py_ssize_t n_, Py_ssize_t lane_step_, "
            f"{taken}{self.taken}, {SUMS}) noexcept nogil:\n"
            f"    cdef Py_ssize_t lane_\n"
            f"    for lane_ in range(min(<Py_ssize_t>{LANES}, rows_)):\n"
            f"        {self.name}_{rows}({sizes}, {given}{', '.join(arrays)}, "
            f"first_ + lane_ * lane_step_, second_ + lane_ * lane_step_)"
        )

    def in_turn(self, prefetch: bool) -> str:
        """Rows in memory order, in stripes of columns; the terms are then added to the sums."""
        suffix = "_prefetch" * prefetch
        given = f"{self.ahead * prefetch}{', '.join(self.given_column)}"
        return (
            f"cdef void {self.name}_in_turn{suffix}(Py_ssize_t rows_, Py_ssize_t n_, Py_ssize_t lane_step_, "
            f"{self.taken_ahead * prefetch}{self.taken}, {SUMS}) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, c_ = 0, lane_, columns_\n"
            f"    cdef {self.real} a_[{LANES * STRIPE}]\n    cdef {self.real} b_[{LANES * STRIPE}]\n"
            f"    while c_ < n_:\n"
            f"        columns_ = min(<Py_ssize_t>{STRIPE}, n_ - c_)\n"
            f"        {self.name}_stripe{suffix}(rows_, columns_, {given}, a_, b_)\n"
            f"        for lane_ in range(min(<Py_ssize_t>{LANES}, rows_)):\n"
            f"            for i_ in range(columns_):\n"
            f"                first_[lane_ * lane_step_ + c_ + i_] += a_[lane_ * {STRIPE} + i_]\n"
            f"                second_[lane_ * lane_step_ + c_ + i_] += b_[lane_ * {STRIPE} + i_]\n"
            f"        c_ += columns_"
        )

    def stripe(self, prefetch: bool) -> str:
        """Rows of a stripe of columns in memory order: bands of two rows for each lane, with stored terms.

        This is for two arrays: the lanes' groups of 8 rows, each 16 rows apart, often share a few sets of a small cache
        and evict each other. A single array is read lane by lane (forward: 1.1 ms instead of 1.2) unless there are few
        rows (256x64, forward: 5.2 us lane by lane, 5.0 in turn); so are rows of many columns, unless they are uncached.
        Uncached rows prefetch the next tile in memory order; others use a separate loop, since the test made it 15 %
        slower (256x64: 9 us). Copies of the parameters of a whole stripe stay in registers (256x64: 7.5 us -> 6.7).
        """
        scalars = self.loop.function.scalars
        declared = "".join(f"    cdef {self.real} {name}_stripe_[{STRIPE}]\n" for name in scalars)
        copied = "".join(f"            {name}_stripe_[i_] = {name}[i_]\n" for name in scalars)
        whole = textwrap.indent(self.bands(str(STRIPE), [f"{name}_stripe_" for name in scalars], prefetch), " " * 8)
        narrow = textwrap.indent(self.bands("n_", list(scalars), prefetch), " " * 8)
        return (
            f"cdef void {self.name}_stripe{'_prefetch' * prefetch}(Py_ssize_t rows_, Py_ssize_t n_, "
            f"{self.taken_ahead * prefetch}{self.taken}, {self.waiting}) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, {'k_, ' * prefetch}r_, band_, lane_\n{declared}"
            f"    if n_ == {STRIPE}:\n"
            f"        for i_ in range({STRIPE}):\n{copied}{whole}\n"
            f"    else:\n{narrow}"
        )

    def bands(self, columns: str, parameters: list[str], prefetch: bool) -> str:
        """Return the loop over bands of a stripe with this many columns and these parameters."""
        read, ahead = self.loop.read, f"{PAIR} * r_ - band_ + k_"
        given = [each for name in read
                 for each in (f"{name}_ + r_ * {name}_step_", f"{LANES} * {name}_step_")]  # fmt: skip
        given += [*parameters, "a_ + lane_", "b_ + lane_"]
        prefetches = [f"        for k_ in range({PAIR}):"]
        prefetches += [
            f"            {prefetch_l2(f'{name}_ + {name}_ahead_ + ({ahead}) * {name}_step_', columns)}"
            for name in read
        ]
        paired = f"r_ + {LANES * (PAIR - 1)} < rows_"
        rows = [
            f"        {condition}:\n            {self.name}_{which}({columns}, {', '.join(given)})"
            for condition, which in (
                (f"if band_ == 0 and {paired}", f"first_{PAIR}"),
                (f"elif {paired}", f"added_{PAIR}"),
                ("elif band_ == 0", "first_1"),
                ("else", "added_1"),
            )
        ]
        return "\n".join([
            f"for band_ in range(0, rows_, {PAIR * LANES}):",
            f"    for r_ in range(band_, min(band_ + {LANES}, rows_)):",
            f"        lane_ = (r_ - band_) * {STRIPE}",
            *(prefetches if prefetch else []),
            *rows,
        ])  # fmt: skip


def _each_lane(lines: list[str]) -> list[str]:
    """Return a loop over lanes that adds u_ and v_ to the sums."""
    return [f"for i_ in range({LANES}):", *(f"    {line}" for line in (*lines, "c_[i_] += u_", "d_[i_] += v_"))]
