"""Writes the norms' kernels that compute elements, in Cython."""

from __future__ import annotations

import textwrap

from .cython_loops import arguments, values
from .panel_text import COLUMNS, GROUP, LANES, ROW, ROWS, Loop

#: Rows pass until so many elements are done, and then those of the next strip, so that memory is read in order after
#: all; but so many at least.
STRIPS_AT_ONCE, LEAST_ROWS = 2048, 4


def elements(loop: Loop) -> str:
    """A kernel that writes arrays: a loop over the columns of each row; over strips, if columns have parameters."""
    names = loop.read + loop.written
    called = ", ".join(values(loop, names, "run_t"))
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
    called = ", ".join(values(loop, loop.read + loop.written, "run_t", "c"))
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
    """The loop over the columns of a row; in chunks, where it reads what no pass before it has brought to the cache.

    (An addition has nothing but that, and is read in order: to ask for it made 1M elements take a sixth longer.)
    """
    ahead = "residual" in loop.read and bool(loop.parameters)
    given = arguments(loop, loop.read + loop.written, "run_t")
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
        f"cdef inline void {loop.name}_row(Py_ssize_t n_, {', '.join(given)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_\n    cdef real g_\n{hoisted}{chunks * (ahead)}"
        f"    for i_ in range(n_):\n{textwrap.indent(lines, ' ' * 8)}"
    )


def _strip(loop: Loop) -> str:
    """The loop over the rows of a strip, whose parameters the compiler keeps in registers."""
    given = arguments(loop, loop.read + loop.written, "run_t")
    moves = "".join(f"        {name}_ += {name}_step_\n" for name in loop.read + loop.written)
    lines = textwrap.indent("\n".join(_element(loop)), " " * 12)
    return (
        f"cdef inline void {loop.name}_strip(Py_ssize_t rows_, {', '.join(given)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_, r_\n    cdef real g_\n"
        f"    for r_ in range(rows_):\n        for i_ in range(STRIP):\n{lines}\n{moves}\n\n"
    )


def _element(loop: Loop) -> list[str]:
    """What is done with the element in column i_."""
    place = {name: f"{name}_[i_]" for name in loop.read + loop.written}
    taken = [{**place, "dy": "g_"}[name] for name in loop.function.arrays]
    taken += [f"{name}_" if along == ROW else f"{name}[i_]" for name, along in loop.parameters]
    result = f"{loop.function.name}({', '.join(taken)})"
    if not loop.backward:
        return [f"{place['out']} = {loop.finish}({result}, {place.get('residual', place['x'])})"]
    lines = [f"g_ = {loop.gradient}({place['dy']}, {place.get('y', place['dy'])})", f"{place['out']} = {result}"]
    return lines + ([f"{place['dresidual']} = g_"] if "dresidual" in place else [])
