"""Writes the norms' kernels that add up, in Cython: one tree of sums, and the ways to walk a panel for it.

All of them add up groups of GROUP rows column by column, and then add that to the columns' sums. They differ in what
they keep close by, and so in which memory is read when.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from .cython_loops import arguments, pointer, values
from .panel_text import AHEAD, ARRAYS, COLUMNS, GROUP, LANES, PARAMETER, ROW, ROWS, STEP, STRIPE, SUM, SUM_STEP, Loop

#: Rows that lie so many elements apart are read by half a group at a time: of two arrays, 8 rows at a distance of 4 KiB
#: (every 16th pixel of 64 channels) do not fit the 8 ways of a small L1 cache: 0.33 ns an element, not 0.23.
APART = 256

#: Columns of half a group whose sums wait on the stack meanwhile.
COLUMNS_AT_ONCE = 256


#: Rows of a lane that are read together where lanes take turns: half the loads and stores of what waits (batch norm
#: backward, 1x56x56x64: 0.15 ns an element, not 0.24 lane by lane; four rows are 16 streams of memory: 0.2).
PAIR = 2

#: What a loop does with u_ and v_.
WAIT = ("a_[i_] = u_", "b_[i_] = v_")
GO_ON = ("u_ = a_[i_]", "v_ = b_[i_]")
JOIN = ("first_[i_] += u_", "second_[i_] += v_")
SUMS = "sums_t first_, sums_t second_"


def sums(loop: Loop) -> str:
    """A kernel that adds terms to the sums of their columns."""
    return _Sums(loop).kernel()


def sums_by_themselves(loop: Loop) -> str:
    """A kernel that adds up each of its rows, or of its columns, by itself, with the loops of another.

    To call that one for every row takes 80 ns (layer norm forward, 1024x1024, one thread: 0.28 ns an element; 0.24);
    and the lanes of columns, the engine adds up with the instructions that every processor has (batch norm, 256x64:
    forward 5.6 us, 5.3 here; backward 6.7, 6.4).
    """
    return _Sums(loop).rows_by_themselves() if ROW in loop.panel.along else _Sums(loop).columns_by_themselves()


@dataclass(frozen=True)
class _Sums:
    loop: Loop

    @property
    def name(self) -> str:
        return self.loop.name

    @property
    def lender(self) -> str:
        """The kernel whose loops are run."""
        return f"{self.loop.panel.loops}_kernel{self.loop.form}" if self.loop.panel.loops else self.name

    @property
    def several(self) -> bool:
        """Several arrays are read."""
        return len(self.loop.function.arrays) > 1

    @property
    def real(self) -> str:
        """The terms' type."""
        return "double" if self.loop.panel.wide else "real"

    @property
    def pointer(self) -> str:
        return "sums_t" if self.loop.panel.wide else "run_t"

    @property
    def taken(self) -> str:
        """What each loop takes: arrays and parameters."""
        return ", ".join(arguments(self.loop, self.loop.read, self.pointer))

    @property
    def asked(self) -> tuple[str, ...]:
        """The arrays that loops ask for early; samples with weights come sooner by themselves.

        (Layer norm backward, 8192x1024: 3.7 ms, not 4.0.)
        """
        return () if "weight" in self.loop.read else self.loop.read

    @property
    def taken_ahead(self) -> str:
        """What loops that ask take first: how far on what they ask for stands."""
        return "".join(f"Py_ssize_t {name}_ahead_, " for name in self.asked)

    @property
    def given_ahead(self) -> str:
        """What a kernel gives them."""
        return "".join(f"sizes[{AHEAD + ARRAYS.index(name)}], " for name in self.asked)

    @property
    def called(self) -> str:
        """What a kernel gives a loop, from row r on: arrays and parameters."""
        return ", ".join(values(self.loop, self.loop.read, self.pointer))

    @property
    def in_turn_too(self) -> bool:
        """Rows that belong to lanes in turn may be read in turn."""
        return self.loop.panel.pixels and self.several

    @property
    def by_row(self) -> list[str]:
        """The parameters that rows have."""
        return [name for name, along in self.loop.parameters if along == ROW]

    def given(self, column: str) -> str:
        """What a loop gives another one, from row r_ and a column on."""
        arrays = [each for name in self.loop.read
                  for each in (f"{name}_ + r_ * {name}_step_ + {column}", f"{name}_step_")]  # fmt: skip
        moved = [f"{name} + {'r_' if name in self.by_row else column}" for name in self.loop.function.scalars]
        return ", ".join(arrays + moved)

    def kernel(self) -> str:
        """All loops, and the kernel that chooses among them."""
        loop = self.loop
        rows, columns, sum_step = (f"sizes[{size}]" for size in (ROWS, COLUMNS, SUM_STEP))
        sums = ", ".join(f"<sums_t>arrays[{SUM + i}]" for i in range(2))
        called = f"{self.called}, {sums}"
        in_line = [f"{columns} == {LANES}", *(f"sizes[{STEP + ARRAYS.index(name)}] == {LANES}" for name in loop.read)]
        in_lanes, pixels = [], self.loop.panel.pixels
        if pixels:
            in_lanes = [f"if {sum_step}:"]
            in_lanes += [f"    {line}" for line in (*self.in_lanes(rows, sum_step, sums, any_width=True), "return")]
        loops = [self.group(), self.first(GROUP // 2), self.second_half(), self.first(1), self.added(1)]
        loops += [self.apart(), self.all_rows(), self.line()]
        loops += [self.lane_by_lane()] * pixels
        if self.in_turn_too:
            loops += [self.first(PAIR), self.added(PAIR), self.in_turn(False), self.in_turn(True)]
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
        """The terms of the element in a row and column i_."""
        loop = self.loop
        elements = {name: f"{name}_[i_ + {row} * {name}_step_]" for name in loop.read}
        elements |= {name: f"loaded({elements[name]})" for name in loop.read if name != "weight"}
        if loop.backward:
            elements["dy"] = f"{loop.gradient}({elements['dy']}, {elements.get('y', elements['dy'])})"
        function = loop.panel.name if loop.panel.wide else loop.function.name
        taken = [elements[name] for name in loop.function.arrays]
        taken += [f"{name}[{row}]" if along == ROW else f"{name}[i_]" for name, along in loop.parameters]
        return f"{function}({', '.join(taken)})"

    def begun(self, rows: int) -> list[str]:
        """Put the terms of the first rows, added up in order, into u_ and v_."""
        return [f"t_ = {self.terms(0)}", "u_ = t_[0]", "v_ = t_[1]", *self.more(range(1, rows))]

    def more(self, rows: range) -> list[str]:
        """Add the terms of some rows to u_ and v_, in order."""
        return [line for row in rows for line in (f"t_ = {self.terms(row)}", "u_ += t_[0]", "v_ += t_[1]")]

    def columns(self, name: str, lines: list[str], more: str) -> str:
        """A loop over the columns of some rows."""
        return (
            f"cdef inline void {self.name}_{name}(Py_ssize_t n_, {self.taken}, {more}) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_\n    cdef {self.real} u_, v_\n    cdef ({self.real}, {self.real}) t_\n"
            f"    for i_ in range(n_):\n{textwrap.indent(chr(10).join(lines), ' ' * 8)}"
        )

    def group(self) -> str:
        """A whole group, in registers."""
        return self.columns("group", [*self.begun(GROUP), *JOIN], SUMS)

    # What belongs to a group may wait for the rest of it.

    @property
    def waiting(self) -> str:
        """Where it waits."""
        return f"{self.pointer} a_, {self.pointer} b_"

    def first(self, rows: int) -> str:
        """The first rows of a group."""
        return self.columns(f"first_{rows}", [*self.begun(rows), *WAIT], self.waiting)

    def added(self, rows: int) -> str:
        """Rows of a group that come after others."""
        return self.columns(f"added_{rows}", [*GO_ON, *self.more(range(rows)), *WAIT], self.waiting)

    def second_half(self) -> str:
        """The other half of a group, whose first half waits."""
        lines = [*GO_ON, *self.more(range(GROUP // 2, GROUP)), *JOIN]
        return self.columns("second_half", lines, f"{self.waiting}, {SUMS}")

    # ---- Panels whose rows all belong to the same sums

    def apart(self) -> str:
        """Groups by halves, in stripes of columns; the last group may have fewer rows."""
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
        """Whole groups in registers, unless that is bad for the cache, and what is left."""
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
        """Groups of a line, whose lanes stand end to end: their sums stay in registers or close by.

        What is far away is asked for early (batch norm, NCHW 32x64x56x56: forward 1.4 -> 1.2 ms, backward 2.2 -> 2.0).
        """
        lines = textwrap.indent("\n".join([*self.begun(GROUP), "c_[i_] += u_", "d_[i_] += v_"]), " " * 12)
        for name in self.loop.read:
            lines = lines.replace(f"{name}_step_", str(LANES))
        size = GROUP * LANES
        ask = "".join(
            f"        if {name}_ahead_:\n            ask_for_early({name}_ + {name}_ahead_, {size})\n"
            for name in self.asked
        )
        moves = [f"        {name}_ += {size}\n" for name in self.loop.read]
        moves += [f"        {name} += {GROUP}\n" for name in self.by_row]
        return (
            f"cdef void {self.name}_line(Py_ssize_t groups_, {self.taken_ahead}{self.taken}, "
            f"sums_t first_, sums_t second_) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, g_\n    cdef {self.real} u_, v_\n    cdef ({self.real}, {self.real}) t_\n"
            f"    cdef double c_[{LANES}]\n    cdef double d_[{LANES}]\n"
            f"    for i_ in range({LANES}):\n        c_[i_] = first_[i_]\n        d_[i_] = second_[i_]\n"
            f"    for g_ in range(groups_):\n{ask}"
            f"        for i_ in range({LANES}):\n{lines}\n{''.join(moves)}"
            f"    for i_ in range({LANES}):\n        first_[i_] = c_[i_]\n        second_[i_] = d_[i_]"
        )

    # ---- Panels whose rows belong to lanes in turn

    def in_lanes(self, rows: str, sum_step: str, sums: str, *, any_width: bool) -> list[str]:
        """What a kernel does with such rows, from row r on; not of any width, they have STRIPE columns at most."""
        given, called = f"({rows}, sizes[{COLUMNS}], {sum_step}, ", f"{self.called}, {sums})"
        by_lane = f"{self.lender}_lane_by_lane{given}{called}"
        if not self.in_turn_too:
            return [by_lane]
        far = f"{self.lender}_in_turn_far{given}{self.given_ahead}{called}"
        near = f"{self.lender}_in_turn{given}{called}"
        lines = [f"if sizes[{AHEAD}]:", f"    {far}"]
        if any_width:
            return [*lines, f"elif sizes[{COLUMNS}] <= {STRIPE}:", f"    {near}", "else:", f"    {by_lane}"]
        return [*lines, "else:", f"    {near}"]

    def lane_by_lane(self) -> str:
        """The rows of one lane, then those of another: whole groups, in registers."""
        read = self.loop.read
        given = [each for name in read for each in (f"{name}_ + lane_ * {name}_step_", f"{LANES} * {name}_step_")]
        given += self.loop.function.scalars
        return (
            f"cdef void {self.name}_lane_by_lane(Py_ssize_t rows_, Py_ssize_t n_, Py_ssize_t lane_step_, "
            f"{self.taken}, {SUMS}) noexcept nogil:\n"
            f"    cdef Py_ssize_t lane_\n"
            f"    for lane_ in range(min(<Py_ssize_t>{LANES}, rows_)):\n"
            f"        {self.name}_all((rows_ - lane_ + {LANES - 1}) // {LANES}, n_, {', '.join(given)}, "
            f"first_ + lane_ * lane_step_, second_ + lane_ * lane_step_)"
        )

    def in_turn(self, far: bool) -> str:
        """Rows in the order of memory, in stripes of columns: bands of two rows for each lane.

        For two arrays, whose lanes' groups of 8 rows, each 16 rows apart, often lie in the same few places of a small
        cache, and drive each other out. One array is better read lane by lane (forward: 1.1 ms, not 1.2), and so are
        rows of many columns, unless they are far away. Those that are, ask in the order of memory for the panel behind
        theirs; those that are not have a loop of their own: with the question in it, it was 15 % slower (256x64: 9 us).
        Of a whole stripe, the compiler keeps parameters in registers if they are copied (256x64: 7.5 us -> 6.7).
        """
        scalars = self.loop.function.scalars
        declared = [
            *(f"{name}_stripe_[{STRIPE}]" for name in scalars),
            *(f"{lanes}[{LANES * STRIPE}]" for lanes in ("a_", "b_")),
        ]
        copied = "".join(f"                {name}_stripe_[i_] = {name}[c_ + i_]\n" for name in scalars)
        whole = textwrap.indent(self.bands(str(STRIPE), [f"{name}_stripe_" for name in scalars], far), " " * 12)
        narrow = textwrap.indent(self.bands("columns_", [f"{name} + c_" for name in scalars], far), " " * 12)
        return (
            f"cdef void {self.name}_in_turn{'_far' * far}(Py_ssize_t rows_, Py_ssize_t n_, Py_ssize_t lane_step_, "
            f"{self.taken_ahead * far}{self.taken}, {SUMS}) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, {'k_, ' * far}c_ = 0, r_, band_, lane_, columns_\n"
            f"{''.join(f'    cdef {self.real} {each}{chr(10)}' for each in declared)}"
            f"    while c_ < n_:\n"
            f"        columns_ = min(<Py_ssize_t>{STRIPE}, n_ - c_)\n"
            f"        if columns_ == {STRIPE}:\n"
            f"            for i_ in range({STRIPE}):\n{copied}{whole}\n"
            f"        else:\n{narrow}\n"
            f"        for r_ in range(min(<Py_ssize_t>{LANES}, rows_)):\n"
            f"            for i_ in range(columns_):\n"
            f"                first_[r_ * lane_step_ + c_ + i_] += a_[r_ * {STRIPE} + i_]\n"
            f"                second_[r_ * lane_step_ + c_ + i_] += b_[r_ * {STRIPE} + i_]\n"
            f"        c_ += columns_"
        )

    def bands(self, columns: str, parameters: list[str], far: bool) -> str:
        """All bands of a stripe of so many columns from c_ on, whose parameters stand there."""
        read, ahead = self.loop.read, f"{PAIR} * r_ - band_ + k_"
        given = [each for name in read
                 for each in (f"{name}_ + r_ * {name}_step_ + c_", f"{LANES} * {name}_step_")]  # fmt: skip
        given += [*parameters, "a_ + lane_", "b_ + lane_"]
        asked = [f"        for k_ in range({PAIR}):"]
        asked += [
            f"            ask_for_early({name}_ + {name}_ahead_ + ({ahead}) * {name}_step_ + c_, {columns})"
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
            *(asked if far else []),
            *rows,
        ])  # fmt: skip

    # ---- Panels each of whose columns, or rows, has sums of its own

    def columns_by_themselves(self) -> str:
        """Groups of rows in every lane, and then the lanes are added up."""
        lines = [
            f"for i_ in range({LANES * STRIPE}):",
            "    a_[i_] = b_[i_] = 0",
            f"while r < sizes[{ROWS}]:",
            f"    rows_ = min(<Py_ssize_t>{GROUP * LANES}, sizes[{ROWS}] - r)",
            *(f"    {line}" for line in self.in_lanes("rows_", str(STRIPE), "a_, b_", any_width=False)),
            "    r += rows_",
            f"for i_ in range({STRIPE}):",
            f"    first_[i_] = sum_of_lanes(a_ + i_, {STRIPE})",
            f"    second_[i_] = sum_of_lanes(b_ + i_, {STRIPE})",
            f"for i_ in range(sizes[{COLUMNS}]):",
            *(f"    (<sums_t>arrays[{SUM + i}])[i_ * sizes[{SUM_STEP}]] = {each}[i_]"
              for i, each in enumerate(("first_", "second_"))),
        ]  # fmt: skip
        declared = [f"{lanes}[{LANES * STRIPE}]" for lanes in ("a_", "b_")]
        declared += [f"{sums}[{STRIPE}]" for sums in ("first_", "second_")]
        return (
            f"cdef void {self.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n"
            f"    cdef Py_ssize_t i_, rows_, r = 0\n"
            f"{''.join(f'    cdef double {each}{chr(10)}' for each in declared)}"
            f"{textwrap.indent(chr(10).join(lines), ' ' * 4)}"
        )

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
