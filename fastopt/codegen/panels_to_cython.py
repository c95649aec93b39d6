"""Writes the Cython module that holds every norm's kernels for one compute type."""

from __future__ import annotations

import textwrap

from .panel_text import (
    ARRAYS,
    COLUMNS,
    FAR_AWAY,
    GROUP,
    LANES,
    PANELS,
    PARAMETER,
    ROW,
    ROWS,
    STEP,
    SUM,
    SUM_STEP,
    Loop,
    loops,
)
from .rule_text import Function, parse_functions
from .to_cython import header

#: STRIP: columns whose parameters stay in registers while rows pass; to load the five of an input gradient for every
#: element takes longer than its arithmetic. 20 of the 32 registers that AVX-512 has; 10 of the 16 that others have.
#:
#: ask_for: what will be read soon is asked for. Sums do little with an element, planes are short, and by itself a
#: processor waits at the start of each. To ask for several KiB at a time makes all else wait (batch norm backward, NCHW
#: 32x64x56x56: 2.1 ms, not 1.8): hence groups ask for the one that stands AHEAD elements behind them.
#: Columns of pixels, each of which belongs to a lane in turn, whose groups' sums wait on the stack meanwhile.
STRIPE = 64

PREAMBLE = """\
cdef extern from *:
    \"\"\"
    #ifdef __AVX512F__
    #define STRIP (256 / (Py_ssize_t)sizeof(real_t))
    #elif defined(__AVX__)
    #define STRIP (64 / (Py_ssize_t)sizeof(real_t))
    #else
    #define STRIP (32 / (Py_ssize_t)sizeof(real_t))
    #endif

    #define AHEAD (4096 / (Py_ssize_t)sizeof(real_t))

    static inline void ask_for(const real_t *row, Py_ssize_t columns)
    {
    #ifdef __GNUC__
        for (Py_ssize_t i = 0; i < columns; i += 64 / (Py_ssize_t)sizeof(real_t))
            __builtin_prefetch(row + i);
    #else
        (void)row, (void)columns;
    #endif
    }
    \"\"\"
    Py_ssize_t STRIP, AHEAD
    void ask_for(run_t row, Py_ssize_t columns) noexcept nogil"""

#: Rows pass until so many elements are done, and then those of the next strip, so that memory is read in order after
#: all; but so many at least.
STRIPS_AT_ONCE, LEAST_ROWS = 2048, 4

#: Rows that lie so many elements apart are read by half a group at a time: of two arrays, 8 rows at a distance of 4 KiB
#: (every 16th pixel of 64 channels) do not fit the 8 ways of a small L1 cache: 0.33 ns an element, not 0.23.
APART = 256

#: Columns of a group whose sums wait on the stack meanwhile.
COLUMNS_AT_ONCE = 256


def panels_module(source: str, dtype: str) -> str:
    """Return the text of a Cython module with the kernels of all functions in ``source``."""
    functions = parse_functions(source)
    parts = [header("fastopt/norm_rules.py", "fastopt/codegen/panels_to_cython.py", dtype)]
    parts += [PREAMBLE]
    parts += [_inline(each, each.name, "real") for each in functions.values()]
    parts += [_inline(functions[panel.function], panel.name, "double") for panel in PANELS if panel.wide]
    for loop in loops(functions):
        parts.append(_sums(loop) if loop.panel.sums else _elements(loop))
    parts.append(_addresses(loops(functions)))
    return "\n\n".join(parts) + "\n"


def _inline(function: Function, name: str, real: str) -> str:
    """The function, its body verbatim, typed."""
    parameters = ", ".join(f"{real} {name}" for name in function.arrays + function.scalars)
    returned = f"({real}, {real})" if function.name.endswith(("terms", "deviations")) else real
    declared = f"    cdef {real} {', '.join(function.locals)}\n" if function.locals else ""
    body = textwrap.indent(function.body, "    ")
    return f"cdef inline {returned} {name}({parameters}) noexcept nogil:\n{declared}{body}"


def _elements(loop: Loop) -> str:
    """A kernel that writes arrays: a loop over the columns of each row, or over strips where columns have parameters."""
    names = loop.read + loop.written
    called = ", ".join(_values(loop, names, "run_t"))
    strips = sum(along != ROW for _, along in loop.parameters) > 2
    return (
        f"{_row(loop)}\n\n{_strip(loop) if strips else ''}"
        f"cdef void {loop.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n"
        f"    cdef Py_ssize_t r = 0, c = 0\n"
        + (_over_strips(loop) if strips else "")
        + f"    for r in range(r, sizes[{ROWS}]):\n"
        f"        {loop.name}_row(sizes[{COLUMNS}], {called})"
    )


def _over_strips(loop: Loop) -> str:
    """A few rows at a time, strip by strip."""
    called = ", ".join(_values(loop, loop.read + loop.written, "run_t", "c"))
    return (
        f"    cdef Py_ssize_t rows, k\n"
        f"    while r < sizes[{ROWS}]:\n"
        f"        rows = min(max(<Py_ssize_t>{LEAST_ROWS}, {STRIPS_AT_ONCE} // sizes[{COLUMNS}]), sizes[{ROWS}] - r)\n"
        f"        c = 0\n"
        f"        while c + STRIP <= sizes[{COLUMNS}]:\n"
        f"            {loop.name}_strip(rows, {called})\n"
        f"            c += STRIP\n"
        f"        k = r + rows\n"
        f"        while c < sizes[{COLUMNS}] and r < k:\n"
        f"            {loop.name}_row(sizes[{COLUMNS}] - c, {called})\n"
        f"            r += 1\n"
        f"        r = k\n"
    )


def _row(loop: Loop) -> str:
    """The loop over the columns of a row; in chunks, where it reads what no pass before it has brought to the cache."""
    arguments = _arguments(loop, loop.read + loop.written, "run_t")
    hoisted = "".join(f"    cdef real {name}_ = {name}[0]\n" for name, along in loop.parameters if along == ROW)
    lines = "\n".join(_element(loop))
    chunk = GROUP * LANES
    moves = "".join(f"        {name}_ += {chunk}\n" for name in loop.read + loop.written)
    moves += "".join(f"        {name} += {chunk}\n" for name, along in loop.parameters if along != ROW)
    chunks = (
        f"    while n_ >= {chunk}:\n        ask_for(residual_ + AHEAD, {chunk})\n"
        f"        for i_ in range({chunk}):\n{textwrap.indent(lines, ' ' * 12)}\n{moves}        n_ -= {chunk}\n"
    )
    return (
        f"cdef inline void {loop.name}_row(Py_ssize_t n_, {', '.join(arguments)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_\n    cdef real g_\n{hoisted}{chunks * ('residual' in loop.read)}"
        f"    for i_ in range(n_):\n{textwrap.indent(lines, ' ' * 8)}"
    )


def _strip(loop: Loop) -> str:
    """The loop over the rows of a strip, whose parameters the compiler keeps in registers."""
    arguments = _arguments(loop, loop.read + loop.written, "run_t")
    moves = "".join(f"        {name}_ += {name}_step_\n" for name in loop.read + loop.written)
    lines = textwrap.indent("\n".join(_element(loop)), " " * 12)
    return (
        f"cdef inline void {loop.name}_strip(Py_ssize_t rows_, {', '.join(arguments)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_, r_\n    cdef real g_\n"
        f"    for r_ in range(rows_):\n        for i_ in range(STRIP):\n{lines}\n{moves}\n\n"
    )


def _element(loop: Loop) -> list[str]:
    """What is done with the element in column i_."""
    place = {name: f"{name}_[i_]" for name in loop.read + loop.written}
    values = [f"{name}_" if along == ROW else f"{name}[i_]" for name, along in loop.parameters]
    given = {**place, "dy": "g_"}
    result = f"{loop.function.name}({', '.join([*(given[name] for name in loop.function.arrays), *values])})"
    if not loop.backward:
        return [f"{place['out']} = {loop.finish}({result}, {place.get('residual', place['x'])})"]
    lines = [f"g_ = {loop.gradient}({place['dy']}, {place.get('y', place['dy'])})", f"{place['out']} = {result}"]
    return lines + ([f"{place['dresidual']} = g_"] if "dresidual" in place else [])


def _arguments(loop: Loop, names: tuple[str, ...], parameter: str) -> list[str]:
    """What a loop takes: where a row of each array begins, the step to the next, and the parameters."""
    panels = [each for name in names for each in (f"run_t {name}_", f"Py_ssize_t {name}_step_")]
    return panels + [f"{parameter} {name}" for name in loop.function.scalars]


def _values(loop: Loop, names: tuple[str, ...], parameter: str, column: str = "0") -> list[str]:
    """What a kernel gives its loop for row r, from a column on."""
    values = []
    for slot in map(ARRAYS.index, names):
        values += [f"<run_t>arrays[{slot}] + r * sizes[{STEP + slot}] + {column}", f"sizes[{STEP + slot}]"]
    for i, (_, along) in enumerate(loop.parameters):
        values += [f"<{parameter}>arrays[{PARAMETER + i}] + {'r' if along == ROW else column}"]
    return values


def _sums(loop: Loop) -> str:
    """A kernel that adds terms to the sums of their columns."""
    wide = "double" if loop.panel.wide else "real"
    parameter = "sums_t" if loop.panel.wide else "run_t"
    arguments = [*_arguments(loop, loop.read, parameter), "sums_t first_", "sums_t second_"]
    sums = [f"<sums_t>arrays[{SUM + i}]" for i in range(2)]
    called = ", ".join([*_values(loop, loop.read, parameter), *sums])
    in_line = [f"sizes[{COLUMNS}] == {LANES}", *(f"sizes[{STEP + ARRAYS.index(name)}] == {LANES}" for name in loop.read)]
    in_turn = (
        f"    if sizes[{SUM_STEP}] and sizes[{FAR_AWAY}]:\n"
        f"        {loop.name}_in_turn(sizes[{ROWS}], sizes[{COLUMNS}], sizes[{SUM_STEP}], {called})\n"
        f"        return\n"
    )
    several = len(loop.function.arrays) > 1
    parts = [_group(loop, arguments, wide), _line(loop, arguments, wide), _apart(loop, arguments, wide)]
    parts += [_rows_of_a_lane(loop, arguments), _lane_by_lane(loop, arguments)]
    parts += [_in_turn(loop, arguments, wide)] * several
    return "\n\n".join(parts) + (
        f"\n\ncdef void {loop.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n"
        f"    cdef Py_ssize_t r = 0\n{in_turn * several}"
        f"    if sizes[{SUM_STEP}]:\n"
        f"        {loop.name}_lane_by_lane(sizes[{ROWS}], sizes[{COLUMNS}], sizes[{SUM_STEP}], sizes[{FAR_AWAY}], {called})\n"
        f"        return\n"
        f"    if {' and '.join(in_line)}:\n"
        f"        {loop.name}_line(sizes[{ROWS}] // {GROUP}, sizes[{FAR_AWAY}], {called})\n"
        f"        r = sizes[{ROWS}] // {GROUP} * {GROUP}\n"
        f"    {loop.name}_all(sizes[{ROWS}] - r, sizes[{COLUMNS}], {called})"
    )


def _rows_of_a_lane(loop: Loop, arguments: list[str]) -> str:
    """All rows, whole groups in registers unless that is bad for the cache."""
    near = f"{loop.read[0]}_step_ < {APART}" if len(loop.read) > 1 else "True"
    given = _given(loop, arguments, column="0")
    return (
        f"cdef inline void {loop.name}_all(Py_ssize_t rows_, Py_ssize_t n_, {', '.join(arguments)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t r_ = 0\n"
        f"    while {near} and r_ + {GROUP} <= rows_:\n"
        f"        {loop.name}_group(n_, {given}, first_, second_)\n"
        f"        r_ += {GROUP}\n"
        f"    if r_ < rows_:\n"
        f"        {loop.name}_apart(rows_ - r_, n_, {given}, first_, second_)"
    )


def _lane_by_lane(loop: Loop, arguments: list[str]) -> str:
    """Rows that belong to lanes in turn, those of one lane after those of another."""
    given = [argument.split()[-1] for argument in arguments[:-2]]
    moved = [f"{name}_ + lane_ * {name}_step_" for name in loop.read]
    steps = [f"{LANES} * {name}_step_" for name in loop.read]
    given = [each for pair in zip(moved, steps, strict=True) for each in pair] + given[2 * len(loop.read) :]
    asks = "".join(
        f"                ask_for({name}_ + ({GROUP * LANES} + {GROUP} * lane_ + r_) * {name}_step_, n_)\n"
        for name in loop.read
    )
    return (
        f"cdef void {loop.name}_lane_by_lane(Py_ssize_t rows_, Py_ssize_t n_, Py_ssize_t lane_step_, bint far_, "
        f"{', '.join(arguments)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t lane_, r_\n"
        f"    for lane_ in range(min(<Py_ssize_t>{LANES}, rows_)):\n"
        f"        if far_:\n            for r_ in range({GROUP}):\n{asks}"
        f"        {loop.name}_all((rows_ - lane_ + {LANES - 1}) // {LANES}, n_, {', '.join(given)}, "
        f"first_ + lane_ * lane_step_, second_ + lane_ * lane_step_)"
    )


def _terms(loop: Loop, row: str, column: str) -> str:
    """The terms of the element in a row, which is a number or a name, and a column."""
    elements = {array: f"{array}_[{column} + {row} * {array}_step_]" for array in loop.read}
    if loop.backward:
        elements["dy"] = f"{loop.gradient}({elements['dy']}, {elements.get('y', elements['dy'])})"
    values = [f"{name}[{row}]" if along == ROW else f"{name}[{column}]" for name, along in loop.parameters]
    function = loop.panel.name if loop.panel.wide else loop.function.name
    return f"{function}({', '.join([*(elements[array] for array in loop.function.arrays), *values])})"


def _group(loop: Loop, arguments: list[str], wide: str) -> str:
    """The loop over the columns of a whole group."""
    lines = [f"t_ = {_terms(loop, '0', 'i_')}", "a_ = t_[0]", "b_ = t_[1]"]
    for row in range(1, GROUP):
        lines += [f"t_ = {_terms(loop, str(row), 'i_')}", "a_ += t_[0]", "b_ += t_[1]"]
    lines += ["first_[i_] += a_", "second_[i_] += b_"]
    body = textwrap.indent("\n".join(lines), " " * 8)
    return (
        f"cdef inline void {loop.name}_group(Py_ssize_t n_, {', '.join(arguments)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_\n    cdef {wide} a_, b_\n    cdef ({wide}, {wide}) t_\n"
        f"    for i_ in range(n_):\n{body}"
    )


def _line(loop: Loop, arguments: list[str], wide: str) -> str:
    """The loop over groups of a line, whose lanes stand end to end: their sums stay in registers or close by."""
    steps = {f"{name}_step_": str(LANES) for name in loop.read}
    names = [argument.split()[-1] for argument in arguments]
    by_row = [name for name, along in loop.parameters if along == ROW]
    lines = [f"t_ = {_terms(loop, '0', 'i_')}", "a_ = t_[0]", "b_ = t_[1]"]
    for row in range(1, GROUP):
        lines += [f"t_ = {_terms(loop, str(row), 'i_')}", "a_ += t_[0]", "b_ += t_[1]"]
    lines += ["c_[i_] += a_", "d_[i_] += b_"]
    body = textwrap.indent("\n".join(lines), " " * 12)
    for step, value in steps.items():
        body = body.replace(step, value)
    asks = "".join(f"            ask_for({name}_ + AHEAD, {GROUP * LANES})\n" for name in loop.read if name != "weight")
    moves = "".join(f"        {name}_ += {GROUP * LANES}\n" for name in loop.read)
    moves += "".join(f"        {name} += {GROUP}\n" for name in by_row)
    return (
        f"cdef void {loop.name}_line(Py_ssize_t groups_, bint far_, {', '.join(arguments)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_, g_\n    cdef {wide} a_, b_\n    cdef ({wide}, {wide}) t_\n"
        f"    cdef double c_[{LANES}]\n    cdef double d_[{LANES}]\n"
        f"    for i_ in range({LANES}):\n        c_[i_] = first_[i_]\n        d_[i_] = second_[i_]\n"
        f"    for g_ in range(groups_):\n        if far_:\n{asks}        for i_ in range({LANES}):\n{body}\n{moves}"
        f"    for i_ in range({LANES}):\n        first_[i_] = c_[i_]\n        second_[i_] = d_[i_]"
    )


def _given(loop: Loop, arguments: list[str], column: str = "c_") -> str:
    """The arguments of a loop from row r_ and a column on."""
    by_row = {name for name, along in loop.parameters if along == ROW}
    return ", ".join(
        name if name.endswith("step_")
        else f"{name} + r_" if name in by_row
        else f"{name} + {column}" if name in loop.function.scalars
        else f"{name} + r_ * {name}step_ + {column}"
        for name in (argument.split()[-1] for argument in arguments[:-2])
    )  # fmt: skip


def _in_turn(loop: Loop, arguments: list[str], wide: str) -> str:
    """Rows in the order of memory, which belong to lanes in turn, in stripes of columns."""
    given = _given(loop, arguments)
    asks = "".join(f"            ask_for({name}_ + (r_ + {LANES}) * {name}_step_ + c_, {STRIPE})\n" for name in loop.read)
    row = f"{loop.name}_{{}}_row({{}}, {given}, a_ + lane_, b_ + lane_)"
    rows = "".join(
        f"        for r_ in range({begin}, {end}):\n"
        f"            lane_ = r_ % {LANES} * {STRIPE}\n{asks}"
        f"            if columns_ == {STRIPE}:\n                {row.format(name, STRIPE)}\n"
        f"            else:\n                {row.format(name, 'columns_')}\n"
        for name, begin, end in (("first", 0, "lanes_"), ("added", "lanes_", "rows_"))
    )
    return (
        f"cdef void {loop.name}_in_turn(Py_ssize_t rows_, Py_ssize_t n_, Py_ssize_t lane_step_, {', '.join(arguments)}) "
        f"noexcept nogil:\n"
        f"    cdef Py_ssize_t i_, c_ = 0, r_, lane_, columns_, lanes_ = min(<Py_ssize_t>{LANES}, rows_)\n"
        f"    cdef {wide} a_[{LANES * STRIPE}]\n    cdef {wide} b_[{LANES * STRIPE}]\n"
        f"    while c_ < n_:\n"
        f"        columns_ = min(<Py_ssize_t>{STRIPE}, n_ - c_)\n"
        f"{rows}"
        f"        for r_ in range(lanes_):\n"
        f"            for i_ in range(columns_):\n"
        f"                first_[r_ * lane_step_ + c_ + i_] += a_[r_ * {STRIPE} + i_]\n"
        f"                second_[r_ * lane_step_ + c_ + i_] += b_[r_ * {STRIPE} + i_]\n"
        f"        c_ += columns_"
    )


def _apart(loop: Loop, arguments: list[str], wide: str) -> str:
    """Groups of rows, few at once, in stripes of columns; the last group may have fewer rows."""
    given = _given(loop, arguments)
    return (
        f"{_half(loop, arguments, wide, 'first')}\n\n{_half(loop, arguments, wide, 'second')}\n\n"
        f"{_one_row(loop, arguments, wide, 'first')}\n\n{_one_row(loop, arguments, wide, 'added')}\n\n"
        f"cdef void {loop.name}_apart(Py_ssize_t rows_, Py_ssize_t n_, {', '.join(arguments)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_, c_ = 0, r_, end_, columns_\n"
        f"    cdef {wide} a_[{COLUMNS_AT_ONCE}]\n    cdef {wide} b_[{COLUMNS_AT_ONCE}]\n"
        f"    while c_ < n_:\n"
        f"        columns_ = min(<Py_ssize_t>{COLUMNS_AT_ONCE}, n_ - c_)\n"
        f"        r_ = 0\n"
        f"        while r_ < rows_:\n"
        f"            if r_ + {GROUP} <= rows_:\n"
        f"                {loop.name}_first_half(columns_, {given}, a_, b_)\n"
        f"                r_ += {GROUP // 2}\n"
        f"                {loop.name}_second_half(columns_, {given}, a_, b_, first_ + c_, second_ + c_)\n"
        f"                r_ += {GROUP // 2}\n"
        f"                continue\n"
        f"            for i_ in range(columns_):\n"
        f"                a_[i_] = b_[i_] = 0\n"
        f"            while r_ < rows_:\n"
        f"                {loop.name}_added_row(columns_, {given}, a_, b_)\n"
        f"                r_ += 1\n"
        f"            for i_ in range(columns_):\n"
        f"                first_[c_ + i_] += a_[i_]\n                second_[c_ + i_] += b_[i_]\n"
        f"        c_ += columns_"
    )


def _half(loop: Loop, arguments: list[str], wide: str, half: str) -> str:
    """The loop over the columns of half a group: what it adds up waits for the other half, or joins the sums."""
    pointer = "sums_t" if wide == "double" else "run_t"
    lines, rows = [], list(range(GROUP // 2))
    if half == "first":
        rows.pop(0)
        lines += [f"t_ = {_terms(loop, '0', 'i_')}", "u_ = t_[0]", "v_ = t_[1]"]
        ends, sums = ["a_[i_] = u_", "b_[i_] = v_"], ""
    else:
        lines += ["u_ = a_[i_]", "v_ = b_[i_]"]
        ends, sums = ["first_[i_] += u_", "second_[i_] += v_"], ", sums_t first_, sums_t second_"
    for row in rows:
        lines += [f"t_ = {_terms(loop, str(row), 'i_')}", "u_ += t_[0]", "v_ += t_[1]"]
    return (
        f"cdef inline void {loop.name}_{half}_half(Py_ssize_t n_, {', '.join(arguments[:-2])}, {pointer} a_, "
        f"{pointer} b_{sums}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_\n    cdef {wide} u_, v_\n    cdef ({wide}, {wide}) t_\n"
        f"    for i_ in range(n_):\n" + textwrap.indent("\n".join(lines + ends), " " * 8)
    )


def _one_row(loop: Loop, arguments: list[str], wide: str, name: str) -> str:
    """The loop over the columns of a row, whose terms are the first, or are added to those of the rows before it."""
    pointer = "sums_t" if wide == "double" else "run_t"
    becomes = "=" if name == "first" else "+="
    return (
        f"cdef inline void {loop.name}_{name}_row(Py_ssize_t n_, {', '.join(arguments[:-2])}, {pointer} a_, {pointer} b_) "
        f"noexcept nogil:\n"
        f"    cdef Py_ssize_t i_\n    cdef ({wide}, {wide}) t_\n"
        f"    for i_ in range(n_):\n"
        f"        t_ = {_terms(loop, '0', 'i_')}\n        a_[i_] {becomes} t_[0]\n        b_[i_] {becomes} t_[1]"
    )


def _addresses(kernels: list[Loop]) -> str:
    """What the module exports: the addresses of each kernel's forms, and the codecs'."""
    rows = "".join(
        f'    "{panel.name}": ({" ".join(f"<size_t>&{loop.name}," for loop in kernels if loop.panel is panel)}),\n'
        for panel in PANELS
    )
    return f"addresses = {{\n{rows}}}\n\ncodecs = <size_t>&codec_table[0]"
