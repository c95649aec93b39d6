"""Generates the Python module from which Numba compiles one of the kernels of feature scaling for one compute type."""

from __future__ import annotations

import textwrap

from fastopt.specs.scaling import COLUMNS, ROWS, SCALING_KERNELS, SHARED_BY_COLUMNS, STEP, ScalingKernel

from ..parse import Function, parse_functions
from .update import inlined

HEADER = '''\
"""Generated from fastopt/rules/scaling.py by fastopt/codegen/numba/scaling.py: change those, not this."""

from fastopt.backends.numba.compiler import carray, compiled, float32, float64, inlined, tile_kernel_of
'''


def scaling_kernel_module(source: str, name: str, dtype: str) -> str:
    """Return the text of a module with ``kernel``, one of the kernels of feature scaling."""
    functions = parse_functions(source)
    kernel = next(kernel for kernel in SCALING_KERNELS if kernel.name == name)
    function = functions[kernel.function]
    parts = [HEADER, inlined(function.name, function), _row(kernel, function), _whole(kernel, function, dtype)]
    return "\n\n".join(parts)


def _row(kernel: ScalingKernel, function: Function) -> str:
    """Return a loop over the columns of a row.

    Unlike in Cython, it processes a single row: several rows would require so many alias checks that LLVM would not
    vectorise the loop (200,000 x 64, two threads: 17 ms instead of 4.8).
    """
    uniform = [name for name in function.scalars if kernel.by_row or name in SHARED_BY_COLUMNS]
    lines = [f"{name} = {name}_{'' if name in uniform else '[i_]'}" for name in function.scalars]
    made = function.call("float64(x_[i_])" if kernel.wide else "x_[i_]")
    lines += [f"{', '.join(kernel.stats) or 'x_[i_]'} = {made}"]
    lines += [f"{name}_[i_] = {name}" for name in kernel.stats]
    body = textwrap.indent("\n".join(lines), " " * 8)
    arguments = ", ".join(f"{name}_" for name in function.scalars)
    return f"@compiled\ndef row_(n_, x_, {arguments}):\n    for i_ in range(n_):\n{body}\n"


def _whole(kernel: ScalingKernel, function: Function, dtype: str) -> str:
    """Return the function that the engine calls."""
    real = "float64" if kernel.wide else dtype
    lines = [f"rows_, columns_, step_ = sizes_[{ROWS}], sizes_[{COLUMNS}], sizes_[{STEP}]"]
    lines += [f"x_ = carray(arrays_[0], rows_ * step_ + columns_, {dtype})"]
    given = []
    for i, name in enumerate(function.scalars, 1):
        along = "rows_" if kernel.by_row else "columns_"
        length = "1" if name in SHARED_BY_COLUMNS else along
        lines += [f"{name}_ = carray(arrays_[{i}], {length}, {real})"]
        index = "[r_]" if kernel.by_row else "[0]" if name in SHARED_BY_COLUMNS else ""
        given += [f"{name}_{index}"]
    lines += ["for r_ in range(rows_):", f"    row_(columns_, x_[r_ * step_ :], {', '.join(given)})"]
    return f"@tile_kernel_of\ndef kernel(arrays_, sizes_):\n{textwrap.indent(chr(10).join(lines), '    ')}\n"
