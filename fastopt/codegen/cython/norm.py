"""Writes the Cython module that holds every norm's kernels for one compute type."""

from __future__ import annotations

import textwrap

from fastopt.specs.dtypes import STORAGE
from fastopt.specs.norms import TERMS, TILE_KERNELS

from ..norm import Loop, loops
from ..parse import Function, parse_functions
from .loops import preamble
from .norm_elements import elements
from .norm_full_sums import full_sums
from .norm_sums import sums
from .update import header


def norm_module(source: str, storage: str) -> str:
    """Return the text of a Cython module with the kernels of all functions in ``source``, whose arrays store this."""
    functions, dtype = parse_functions(source), STORAGE[storage].compute
    parts = [header("fastopt/rules/norm.py", "fastopt/codegen/cython/norm.py", dtype), preamble(storage)]
    parts += [_inline(each, each.name, "real") for each in functions.values()]
    every = loops(functions, storage != dtype)
    if dtype == "float64":  # a wide kernel would equal the other one, so one kernel has both names
        names = {loop: loop.name.removeprefix("wide_") for loop in every}
        every = [loop for loop in every if not loop.kernel.wide]
    else:
        names = {loop: loop.name for loop in every}
        wide = [kernel for kernel in TILE_KERNELS if kernel.wide and not kernel.loops]
        parts += [_inline(functions[kernel.function], kernel.name, "double") for kernel in wide]
    parts += [_kernel(loop) for loop in every]
    parts.append(_addresses(names))
    return "\n\n".join(parts) + "\n"


def _kernel(loop: Loop) -> str:
    """A kernel, behind the loops that it alone has."""
    if loop.kernel.loops:
        return full_sums(loop)
    return sums(loop) if loop.kernel.reduces else elements(loop)


def _inline(function: Function, name: str, real: str) -> str:
    """The function, its body verbatim, typed."""
    parameters = ", ".join(f"{real} {name}" for name in function.arrays + function.scalars)
    returned = f"({real}, {real})" if function.name in TERMS else real
    declared = f"    cdef {real} {', '.join(function.locals)}\n" if function.locals else ""
    body = textwrap.indent(function.body, "    ")
    return f"cdef inline {returned} {name}({parameters}) noexcept nogil:\n{declared}{body}"


def _addresses(names: dict[Loop, str]) -> str:
    """What the module exports: the addresses of each kernel's variants, by the names of its loops."""
    rows = ""
    for kernel in TILE_KERNELS:
        addresses = " ".join(f"<size_t>&{name}," for loop, name in names.items() if loop.kernel is kernel)
        rows += f'    "{kernel.name}": ({addresses}),\n'
    return f"addresses = {{\n{rows}}}"
