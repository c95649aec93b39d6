"""Generates the Cython module with all norms' kernels for one compute type."""

from __future__ import annotations

from fastopt.specs.dtypes import STORAGE
from fastopt.specs.norms import TERMS, TILE_KERNELS

from ..norm import Loop, loops
from ..parse import Function, parse_functions
from .loops import preamble
from .norm_elements import elements
from .norm_full_sums import full_sums
from .norm_sums import sums
from .update import addresses, header, inline


def norm_module(source: str, storage: str) -> str:
    """Return the text of a Cython module with the kernels of all functions in ``source`` for this storage type."""
    functions, dtype = parse_functions(source), STORAGE[storage].compute
    parts = [header("fastopt/rules/norm.py", "fastopt/codegen/cython/norm.py", dtype), preamble(storage)]
    parts += [inline(each, returned=_results(each)) for each in functions.values()]
    every = loops(functions, storage != dtype)
    if dtype == "float64":  # a wide kernel would be identical, so one kernel has both names
        names = {loop: loop.name.removeprefix("wide_") for loop in every}
        every = [loop for loop in every if not loop.kernel.wide]
    else:
        names = {loop: loop.name for loop in every}
        wide = [kernel for kernel in TILE_KERNELS if kernel.wide and not kernel.loops]
        for kernel in wide:
            function = functions[kernel.function]
            parts += [inline(function, kernel.name, returned=_results(function), real="double")]
    parts += [_kernel(loop) for loop in every]
    of = {kernel.name: [name for loop, name in names.items() if loop.kernel is kernel] for kernel in TILE_KERNELS}
    parts.append(addresses(of.items()))
    return "\n\n".join(parts) + "\n"


def _kernel(loop: Loop) -> str:
    """Return a kernel after its own loops."""
    if loop.kernel.loops:
        return full_sums(loop)
    return sums(loop) if loop.kernel.reduces else elements(loop)


def _results(function: Function) -> int:
    return 2 if function.name in TERMS else 1
