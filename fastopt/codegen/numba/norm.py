"""Generates the Python module from which Numba compiles one of the norms' kernels for one compute type."""

from __future__ import annotations

import textwrap

from fastopt.specs.norms import ARRAYS, PARAMETER, ROW, STEP, SUM, SUM_STEP, TILE_COLUMNS, TILE_KERNELS, TILE_ROWS
from fastopt.specs.sums import GROUP, LANES

from ..norm import Loop
from ..parse import parse_functions
from .update import inlined

SUMS = ("first_", "second_")

HEADER = '''\
"""Generated from fastopt/rules/norm.py by fastopt/codegen/numba/norm.py: change those, not this."""

from fastopt.backends.numba.compiler import carray, compiled, float32, float64, gate, inlined, tile_kernel_of, relu
'''


def tile_kernel_module(source: str, name: str, variant: int, dtype: str) -> str:
    """Return the text of a module with ``kernel``, one of the norms' kernels in one of its variants."""
    functions = parse_functions(source)
    tile_kernel = next(each for each in TILE_KERNELS if each.name == name)
    kernel = Loop(tile_kernel, variant, functions[tile_kernel.function])
    needed = ["gradient", "gradient_relu", kernel.finish, kernel.function.name]
    parts = [HEADER, *(inlined(each, functions[each]) for each in dict.fromkeys(needed))]
    return "\n\n".join([*parts, _sums(kernel) if tile_kernel.reduces else _elements(kernel), _kernel(kernel, dtype)])


def _elements(kernel: Loop) -> str:
    """Return the loop over the columns of a row that writes arrays."""
    place = {name: f"{name}_[i_]" for name in kernel.read}
    place |= {name: name if along == ROW else f"{name}[i_]" for name, along in kernel.parameters}
    lines = [f"{'g_' if name == 'g_' else f'{name}_[i_]'} = {value}" for name, value in kernel.element(place)]
    arguments = ["n_", *(f"{name}_" for name in kernel.read + kernel.written), *kernel.function.scalars]
    return _loop("run_", arguments, lines)


def _sums(kernel: Loop) -> str:
    """Return the loops over the columns of a whole group of rows, which LLVM vectorises, and of a partial group."""
    lines = [f"a_, b_ = {_terms(kernel, '0')}"]
    for row in range(1, GROUP):
        lines += [f"c_, d_ = {_terms(kernel, str(row))}", "a_ += c_", "b_ += d_"]
    add = ["first_[i_] += a_", "second_[i_] += b_"]
    rest = [f"a_, b_ = {_terms(kernel, '0')}", "for r_ in range(1, rows_):", f"    c_, d_ = {_terms(kernel, 'r_')}",
            "    a_ += c_", "    b_ += d_"]  # fmt: skip
    arguments = [argument for name in kernel.read for argument in (f"{name}_", f"{name}_step_")]
    arguments += [*kernel.function.scalars, "first_", "second_"]
    return (
        _loop("group_", ["n_", *arguments], lines + add)
        + "\n\n"
        + _loop("rest_", ["rows_", "n_", *arguments], rest + add)
    )


def _terms(kernel: Loop, row: str) -> str:
    """Return the terms of the element in a row and column i_."""
    elements = {name: f"{name}_[i_ + {row} * {name}_step_]" for name in kernel.read}
    if kernel.backward:
        elements["dy"] = f"{kernel.gradient}({elements['dy']}, {elements.get('y', elements['dy'])})"
    if kernel.kernel.wide:
        elements = {name: f"float64({element})" for name, element in elements.items()}
    values = [f"{name}[{row}]" if along == ROW else f"{name}[i_]" for name, along in kernel.parameters]
    return f"{kernel.function.name}({', '.join([*(elements[name] for name in kernel.function.arrays), *values])})"


def _loop(name: str, arguments: list[str], lines: list[str]) -> str:
    body = textwrap.indent("\n".join(lines), " " * 8)
    return f"@compiled\ndef {name}({', '.join(arguments)}):\n    for i_ in range(n_):\n{body}\n"


def _kernel(kernel: Loop, dtype: str) -> str:
    """Return the function that the engine calls: the loop over rows or groups of rows."""
    wide = "float64" if kernel.kernel.wide else dtype
    lines = [f"rows_, columns_ = sizes_[{TILE_ROWS}], sizes_[{TILE_COLUMNS}]"]
    for name in kernel.read + kernel.written:
        slot = ARRAYS.index(name)
        lines += [f"{name}_step_ = sizes_[{STEP + slot}]"]
        lines += [f"{name}_ = {_array(slot, f'rows_ * {name}_step_ + columns_', dtype)}"]
    for i, (name, along) in enumerate(kernel.parameters):
        lines += [f"{name} = {_array(PARAMETER + i, 'rows_' if along == ROW else 'columns_', wide)}"]
    lines += _groups(kernel) if kernel.kernel.reduces else _rows(kernel)
    return f"@tile_kernel_of\ndef kernel(arrays_, sizes_):\n{textwrap.indent(chr(10).join(lines), '    ')}\n"


def _rows(kernel: Loop) -> list[str]:
    given = [f"{name}_[r_ * {name}_step_ :]" for name in kernel.read + kernel.written]
    given += [f"{name}[r_]" if along == ROW else name for name, along in kernel.parameters]
    return ["for r_ in range(rows_):", f"    run_(columns_, {', '.join(given)})"]


def _groups(kernel: Loop) -> list[str]:
    length = "(lanes_ - 1) * sum_step_ + columns_"
    return [
        f"lanes_, sum_step_ = 1, sizes_[{SUM_STEP}]",
        "if sum_step_ > 0:",
        f"    lanes_ = min({LANES}, rows_)",
        *(f"{name} = {_array(SUM + i, length, 'float64')}" for i, name in enumerate(SUMS)),
        f"turns_ = {LANES} if sum_step_ > 0 else 1",
        "for lane_ in range(lanes_):",
        *textwrap.indent("\n".join(_lane(kernel)), "    ").splitlines(),
    ]


def _lane(kernel: Loop) -> list[str]:
    """Return the loop over the rows of one lane, or over all rows."""
    given = []
    for name in kernel.read:
        given += [f"{name}_[(lane_ + r_ * turns_) * {name}_step_ :]", f"turns_ * {name}_step_"]
    given += [f"{name}[r_:]" if along == ROW else name for name, along in kernel.parameters]
    given += [f"{name}[lane_ * sum_step_ :]" for name in SUMS]
    return [
        "count_ = (rows_ - lane_ + turns_ - 1) // turns_",
        f"for r_ in range(0, count_ - {GROUP - 1}, {GROUP}):",
        f"    group_(columns_, {', '.join(given)})",
        f"r_ = count_ // {GROUP} * {GROUP}",
        "if r_ < count_:",
        f"    rest_(count_ - r_, columns_, {', '.join(given)})",
    ]


def _array(slot: int, length: str, dtype: str) -> str:
    return f"carray(arrays_[{slot}], {length}, {dtype})"
