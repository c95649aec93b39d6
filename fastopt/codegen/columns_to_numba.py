"""Writes the Python module from which Numba compiles one of the kernels of feature scaling for one compute type."""

from __future__ import annotations

import textwrap

from .column_text import COLUMN_KERNELS, COLUMNS, GROUP, ROWS, STEP, ColumnKernel, element
from .rule_text import Function, parse_functions
from .to_numba import inlined

HEADER = '''\
"""Generated from fastopt/column_rules.py by fastopt/codegen/columns_to_numba.py: change those, not this."""

from fastopt.backends.numba_compiler import carray, compiled, float32, float64, inlined, panel_kernel_of
'''


def column_module(source: str, name: str, dtype: str) -> str:
    """Return the text of a module whose ``kernel`` is one of the kernels of feature scaling."""
    functions = parse_functions(source)
    kernel = next(kernel for kernel in COLUMN_KERNELS if kernel.name == name)
    function = functions[kernel.function]
    counts = (GROUP, 1) if kernel.gathered else (1,)
    loops = [_rows(kernel, function, count) for count in counts]
    return "\n\n".join([HEADER, inlined(function.name, function), *loops, _whole(kernel, function, dtype)])


def _rows(kernel: ColumnKernel, function: Function, count: int) -> str:
    """A loop over the columns of so many rows, which LLVM vectorises."""
    uniform = [name for name in function.scalars if kernel.by_row or kernel.uniform(name)]
    lines = [f"{name} = {name}_{'' if name in uniform else '[i_]'}" for name in function.scalars]
    if kernel.gathered:
        for row in range(count):
            x = f"x_[i_ + {row} * step_]"
            lines += [
                f"{', '.join(kernel.gathered)} = {element(kernel, function, f'float64({x})' if kernel.wide else x)}"
            ]
        lines += [f"{name}_[i_] = {name}" for name in kernel.gathered]
    else:
        lines += [f"x_[i_] = {element(kernel, function, 'x_[i_]')}"]
    body = textwrap.indent("\n".join(lines), " " * 8)
    arguments = ", ".join(f"{name}_" for name in function.scalars)
    return f"@compiled\ndef rows_{count}(n_, x_, step_, {arguments}):\n    for i_ in range(n_):\n{body}\n"


def _whole(kernel: ColumnKernel, function: Function, dtype: str) -> str:
    """What the engine calls."""
    real = "float64" if kernel.wide else dtype
    lines = [f"rows_, columns_, step_ = sizes_[{ROWS}], sizes_[{COLUMNS}], sizes_[{STEP}]"]
    lines += [f"x_ = carray(arrays_[0], rows_ * step_ + columns_, {dtype})"]
    given = []
    for i, name in enumerate(function.scalars, 1):
        along = "rows_" if kernel.by_row else "columns_"
        length = "1" if kernel.uniform(name) else along
        lines += [f"{name}_ = carray(arrays_[{i}], {length}, {real})"]
        index = "[r_]" if kernel.by_row else "[0]" if kernel.uniform(name) else ""
        given += [f"{name}_{index}"]
    called = f"(columns_, x_[r_ * step_ :], step_, {', '.join(given)})"
    lines += ["r_ = 0"]
    if kernel.gathered:
        lines += [f"while r_ + {GROUP} <= rows_:", f"    rows_{GROUP}{called}", f"    r_ += {GROUP}"]
    lines += ["while r_ < rows_:", f"    rows_1{called}", "    r_ += 1"]
    return f"@panel_kernel_of\ndef kernel(arrays_, sizes_):\n{textwrap.indent(chr(10).join(lines), '    ')}\n"
