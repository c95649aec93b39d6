"""Generates the norms' kernels that compute elements, in Cython."""

from __future__ import annotations

import textwrap

from fastopt.specs.norms import ARRAYS, NONTEMPORAL, ROW, STEP, TILE_COLUMNS, TILE_ROWS

from ..norm import Loop
from .loops import arguments, prefetch_l2, values

#: The elements of a strip that are processed before the next strip, so that memory is read almost in order; and the
#: minimum number of rows.
STRIPS_AT_ONCE, LEAST_ROWS = 2048, 4

#: With non-temporal stores (all data from memory), strips that are parts of rows prefetch at a distance of this many
#: times STRIPS_AT_ONCE elements (batch norm backward, NHWC 32x28x28x256: 4.9 ms -> 2.9).
BLOCKS_AHEAD = 4


def elements(loop: Loop) -> str:
    """A kernel that writes arrays: a loop over the columns of each row, or over strips if columns have parameters."""
    called = _given(loop, "0")
    strips = sum(along != ROW for _, along in loop.parameters) > 2
    parts = [_row(loop)]
    if strips:
        parts += [_strip(loop, nontemporal=False)]
    if not loop.converts:
        parts += [_nontemporal(loop)]
        parts += [_strip(loop, nontemporal=True)] * strips
    return "\n\n".join(parts) + (
        f"\n\ncdef void {loop.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n"
        f"    cdef Py_ssize_t r = 0, c = 0\n"
        + (_over_strips(loop) if strips else "")
        + f"    for r in range(r, sizes[{TILE_ROWS}]):\n"
        + _store(loop, "nontemporal", "row", f"sizes[{TILE_COLUMNS}], {called}", 8).rstrip()
    )


def _store(loop: Loop, nontemporal: str, plain: str, given: str, indent: int) -> str:
    """Call the loop with non-temporal stores if requested, otherwise the one without."""
    called = f"{loop.name}_{plain}({given})\n"
    if not loop.converts:
        called = f"if sizes[{NONTEMPORAL}]:\n    {loop.name}_{nontemporal}({given})\nelse:\n    {called}"
    return textwrap.indent(called, " " * indent)


def _arguments(loop: Loop) -> list[str]:
    return arguments(loop, loop.read + loop.written, "run_t")


def _given(loop: Loop, column: str) -> str:
    """Return a kernel's arguments for a loop, for row r, starting at a column."""
    return ", ".join(values(loop, loop.read + loop.written, "run_t", column))


def _over_strips(loop: Loop) -> str:
    """Process a few rows at a time, strip by strip.

    With non-temporal stores, strips start with the first cache line that begins in a row. That must be the same column
    in all rows; otherwise there are no strips.
    """
    out, strip = ARRAYS.index("out"), _given(loop, "c")
    by_lines = f"STRIP % LINE == 0 and sizes[{STEP + out}] % LINE == 0"
    return (
        f"    cdef Py_ssize_t rows, end, head = 0\n"
        f"    if sizes[{NONTEMPORAL}]:\n"
        f"        head = min(<Py_ssize_t>(bytes_to_line(arrays[{out}]) / sizeof(real)), sizes[{TILE_COLUMNS}])\n"
        f"    while r < sizes[{TILE_ROWS}] and (not sizes[{NONTEMPORAL}] or {by_lines}):\n"
        f"        rows = max(<Py_ssize_t>{LEAST_ROWS}, {STRIPS_AT_ONCE} // sizes[{TILE_COLUMNS}])\n"
        f"        rows = min(rows, sizes[{TILE_ROWS}] - r)\n"
        f"        end = r + rows\n"
        f"        c = head\n"
        f"        while c + STRIP <= sizes[{TILE_COLUMNS}]:\n"
        f"{_store(loop, 'strip_nontemporal', 'strip', f'rows, {strip}', 12)}"
        f"            c += STRIP\n"
        f"        while r < end and c - head < sizes[{TILE_COLUMNS}]:\n"
        f"            {loop.name}_row(head, {_given(loop, '0')})\n"
        f"            {loop.name}_row(sizes[{TILE_COLUMNS}] - c, {strip})\n"
        f"            r += 1\n"
        f"        r = end\n"
    )


def _hoisted(loop: Loop) -> str:
    """Load the parameters of a row."""
    return "".join(f"    cdef real {name}_ = {name}[0]\n" for name, along in loop.parameters if along == ROW)


def _row(loop: Loop) -> str:
    """Return the loop over the columns of a row."""
    return (
        f"cdef inline void {loop.name}_row(Py_ssize_t n_, {', '.join(_arguments(loop))}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_\n    cdef real g_\n{_hoisted(loop)}"
        f"    for i_ in range(n_):\n{textwrap.indent(_element(loop), ' ' * 8)}"
    )


def _nontemporal(loop: Loop) -> str:
    """Return the loop over a row's columns with non-temporal stores of cache lines that are computed in registers."""
    in_place = ", ".join(each.split()[-1] for each in _arguments(loop))
    return (
        f"cdef inline void {loop.name}_nontemporal(Py_ssize_t n_, {', '.join(_arguments(loop))}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_, k_ = min(n_, <Py_ssize_t>(bytes_to_line(out_) / sizeof(real)))\n    cdef real g_\n"
        f"    cdef lines_t {', '.join(f'{name}_lines_' for name in loop.written)}\n{_hoisted(loop)}"
        f"    {loop.name}_row(k_, {in_place})\n{textwrap.indent(_moved(loop, 'k_'), '    ')}\n"
        f"{_store_lines(loop, 'LINES')}{_store_lines(loop, 'LINE')}"
        f"    {loop.name}_row(n_, {in_place})"
    )


def _store_lines(loop: Loop, columns: str) -> str:
    """Return a loop over a row in steps of this many columns."""
    lines = {name: f"{name}_lines_.x" for name in loop.written}
    after = "\n".join([*_stream(lines, columns), _moved(loop, columns)])
    return (
        f"    while n_ >= {columns}:\n        for i_ in range({columns}):\n"
        f"{textwrap.indent(_element(loop, lines), ' ' * 12)}\n{textwrap.indent(after, ' ' * 8)}\n"
    )


def _stream(computed: dict[str, str], columns: str) -> list[str]:
    return [
        f"stream_store(<char *>{name}_, <const char *>{where}, {columns} * sizeof(real))"
        for name, where in computed.items()
    ]


def _moved(loop: Loop, columns: str) -> str:
    """Advance by this many columns."""
    names = [f"{name}_" for name in loop.read + loop.written]
    names += [name for name, along in loop.parameters if along != ROW]
    return "\n".join([*(f"{name} += {columns}" for name in names), f"n_ -= {columns}"])


def _strip(loop: Loop, nontemporal: bool) -> str:
    """Return the loop over the rows of a strip; the compiler holds its parameters in registers.

    With non-temporal stores, this requires copies of the parameters, which such a store might overwrite otherwise.
    """
    kept = {name: f"{name}_strip_.x" for name in loop.function.scalars if nontemporal}
    computed = {name: f"{name}_strip_.x" for name in loop.written if nontemporal}
    strips = [where.removesuffix(".x") for where in (kept | computed).values()]
    begin = f"    cdef strip_t {', '.join(strips)}\n    for i_ in range(STRIP):\n" if nontemporal else ""
    begin += "".join(f"        {where}[i_] = {name}[i_]\n" for name, where in kept.items())
    ahead = f"{BLOCKS_AHEAD} * rows_"
    prefetched = "".join(
        f"            {prefetch_l2(f'{name}_ + {ahead} * {name}_step_', 'STRIP')}\n" for name in loop.read
    )
    prefetch = f"        if out_step_ != STRIP:\n{prefetched}" if nontemporal else ""
    after = _stream(computed, "STRIP") + [f"{name}_ += {name}_step_" for name in loop.read + loop.written]
    return (
        f"cdef inline void {loop.name}_strip{'_nontemporal' * nontemporal}(Py_ssize_t rows_, "
        f"{', '.join(_arguments(loop))}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_, r_\n    cdef real g_\n{begin}"
        f"    for r_ in range(rows_):\n{prefetch}"
        f"        for i_ in range(STRIP):\n{textwrap.indent(_element(loop, kept | computed), ' ' * 12)}\n"
        f"{textwrap.indent(chr(10).join(after), ' ' * 8)}"
    )


def _element(loop: Loop, elsewhere: dict[str, str] | None = None) -> str:
    """Return the lines for the element in column i_; arrays and parameters in ``elsewhere`` have the compute type."""
    place = {name: f"loaded({name}_[i_])" for name in loop.read}
    place |= {name: f"{name}_" if along == ROW else f"{name}[i_]" for name, along in loop.parameters}
    place |= {name: f"{where}[i_]" for name, where in (elsewhere or {}).items()}
    lines = []
    for name, value in loop.element(place):
        to_place = name in place or name == "g_"
        lines += [f"{place.get(name, name)} = {value}" if to_place else f"{name}_[i_] = stored({value})"]
    return "\n".join(lines)
