"""Writes the norms' kernels that compute elements, in Cython."""

from __future__ import annotations

import textwrap

from .cython_loops import arguments, values
from .panel_text import ARRAYS, COLUMNS, PAST, ROW, ROWS, STEP, Loop

#: Rows pass until so many elements are done, and then those of the next strip, so that memory is read in order after
#: all; but so many at least.
STRIPS_AT_ONCE, LEAST_ROWS = 2048, 4

#: Past the caches, where all comes from memory, strips that are parts of rows ask for what they read so many times
#: STRIPS_AT_ONCE elements later (batch norm backward, NHWC 32x28x28x256: 4.9 ms -> 2.9).
BLOCKS_AHEAD = 4


def elements(loop: Loop) -> str:
    """A kernel that writes arrays: a loop over the columns of each row; over strips, if columns have parameters."""
    called = _given(loop, "0")
    strips = sum(along != ROW for _, along in loop.parameters) > 2
    parts = [_row(loop), _past(loop), *((_strip(loop, past) for past in (False, True)) if strips else ())]
    return "\n\n".join(parts) + (
        f"\n\ncdef void {loop.name}(void **arrays, const Py_ssize_t *sizes) noexcept nogil:\n"
        f"    cdef Py_ssize_t r = 0, c = 0\n"
        + (_over_strips(loop) if strips else "")
        + f"    for r in range(r, sizes[{ROWS}]):\n"
        f"        if sizes[{PAST}]:\n"
        f"            {loop.name}_past(sizes[{COLUMNS}], {called})\n"
        f"        else:\n"
        f"            {loop.name}_row(sizes[{COLUMNS}], {called})"
    )


def _arguments(loop: Loop) -> list[str]:
    return arguments(loop, loop.read + loop.written, "run_t")


def _given(loop: Loop, column: str) -> str:
    """What a kernel gives a loop, for row r from a column on."""
    return ", ".join(values(loop, loop.read + loop.written, "run_t", column))


def _over_strips(loop: Loop) -> str:
    """A few rows at a time, strip by strip.

    Past the caches, strips begin with the first line that begins in a row; all rows' lines do so in the same column, or
    else there are no strips.
    """
    out = ARRAYS.index("out")
    by_lines = f"STRIP % LINE == 0 and sizes[{STEP + out}] % LINE == 0"
    return (
        f"    cdef Py_ssize_t rows, end, head = 0\n"
        f"    if sizes[{PAST}]:\n"
        f"        head = min(<Py_ssize_t>(before_line(arrays[{out}]) / sizeof(real)), sizes[{COLUMNS}])\n"
        f"    while r < sizes[{ROWS}] and (not sizes[{PAST}] or {by_lines}):\n"
        f"        rows = min(max(<Py_ssize_t>{LEAST_ROWS}, {STRIPS_AT_ONCE} // sizes[{COLUMNS}]), sizes[{ROWS}] - r)\n"
        f"        end = r + rows\n"
        f"        c = head\n"
        f"        while c + STRIP <= sizes[{COLUMNS}]:\n"
        f"            if sizes[{PAST}]:\n"
        f"                {loop.name}_strip_past(rows, {_given(loop, 'c')})\n"
        f"            else:\n"
        f"                {loop.name}_strip(rows, {_given(loop, 'c')})\n"
        f"            c += STRIP\n"
        f"        while r < end and c - head < sizes[{COLUMNS}]:\n"
        f"            {loop.name}_row(head, {_given(loop, '0')})\n"
        f"            {loop.name}_row(sizes[{COLUMNS}] - c, {_given(loop, 'c')})\n"
        f"            r += 1\n"
        f"        r = end\n"
    )


def _row(loop: Loop) -> str:
    """The loop over the columns of a row."""
    hoisted = "".join(f"    cdef real {name}_ = {name}[0]\n" for name, along in loop.parameters if along == ROW)
    return (
        f"cdef inline void {loop.name}_row(Py_ssize_t n_, {', '.join(_arguments(loop))}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_\n    cdef real g_\n{hoisted}"
        f"    for i_ in range(n_):\n{textwrap.indent(_element(loop), ' ' * 8)}"
    )


def _past(loop: Loop) -> str:
    """The columns of a row whose results go past the caches, by whole lines: a few are computed, then stored.

    Through blocks of 4 KiB, inference with residual and relu takes 2.4 ms (NCHW 32x64x56x56), by AT_ONCE elements 1.2.
    """
    columns = [f"{name}_" for name in loop.read + loop.written]
    columns += [name for name, along in loop.parameters if along != ROW]
    block = {f"{name}_": f"{name}_block_.x" for name in loop.written}
    in_place = ", ".join(each.split()[-1] for each in _arguments(loop))
    in_blocks = ", ".join(block.get(each, each) for each in in_place.split(", "))
    move = "\n".join([*(f"{name} += k_" for name in columns), "n_ -= k_"])
    put = "\n".join([f"{loop.name}_row(k_, {in_blocks})", *(_put(name, "k_") for name in loop.written), move])
    return (
        f"cdef inline void {loop.name}_past(Py_ssize_t n_, {', '.join(_arguments(loop))}) noexcept nogil:\n"
        f"    cdef Py_ssize_t k_ = min(n_, <Py_ssize_t>(before_line(out_) / sizeof(real)))\n"
        f"    cdef past_t {', '.join(f'{name}_block_' for name in loop.written)}\n"
        f"    {loop.name}_row(k_, {in_place})\n{textwrap.indent(move, '    ')}\n"
        f"    while n_ >= AT_ONCE:\n        k_ = AT_ONCE\n{textwrap.indent(put, ' ' * 8)}\n"
        f"    k_ = n_ & -LINE\n{textwrap.indent(put, '    ')}\n"
        f"    {loop.name}_row(n_, {in_place})"
    )


def _put(name: str, columns: str) -> str:
    return f"stream_row(<char *>{name}_, <const char *>{name}_block_.x, {columns} * sizeof(real))"


def _strip(loop: Loop, past: bool) -> str:
    """The loop over the rows of a strip, whose parameters the compiler keeps in registers."""
    blocks = [f"{name}_block_" for name in loop.written]
    declared = f"    cdef past_t {', '.join(blocks)}\n" if past else ""
    ahead = f"{BLOCKS_AHEAD} * rows_"
    asked = "".join(f"            ask_for_early({name}_ + {ahead} * {name}_step_, STRIP)\n" for name in loop.read)
    ask = f"        if out_step_ != STRIP:\n{asked}" if past else ""
    after = [_put(name, "STRIP") for name in loop.written if past]
    after += [f"{name}_ += {name}_step_" for name in loop.read + loop.written]
    return (
        f"cdef inline void {loop.name}_strip{'_past' * past}(Py_ssize_t rows_, {', '.join(_arguments(loop))}) "
        f"noexcept nogil:\n"
        f"    cdef Py_ssize_t i_, r_\n    cdef real g_\n{declared}"
        f"    for r_ in range(rows_):\n{ask}"
        f"        for i_ in range(STRIP):\n{textwrap.indent(_element(loop, '_block_.x' if past else '_'), ' ' * 12)}\n"
        f"{textwrap.indent(chr(10).join(after), ' ' * 8)}"
    )


def _element(loop: Loop, written: str = "_") -> str:
    """What is done with the element in column i_; behind the names of arrays that are written stands where to."""
    place = {name: f"{name}_[i_]" for name in loop.read} | {name: f"{name}{written}[i_]" for name in loop.written}
    taken = [{**place, "dy": "g_"}[name] for name in loop.function.arrays]
    taken += [f"{name}_" if along == ROW else f"{name}[i_]" for name, along in loop.parameters]
    result = f"{loop.function.name}({', '.join(taken)})"
    if not loop.backward:
        return f"{place['out']} = {loop.finish}({result}, {place.get('residual', place['x'])})"
    lines = [f"g_ = {loop.gradient}({place['dy']}, {place.get('y', place['dy'])})", f"{place['out']} = {result}"]
    return "\n".join(lines + ([f"{place['dresidual']} = g_"] if "dresidual" in place else []))
