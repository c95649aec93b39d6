"""What the norms' kernels for CUDA devices have in common, of which each kind has a file.

Every norm is rows of elements; `fastopt.device.norm_plan` says which. What each array is to a kernel, its strides
say (`places`): a mean has stride 0 wherever its statistic goes on. Sums are the fixed tree of
``engine/core/sum_tree.h``, and so have the bits of the host: parts of 2,048, lanes of 16, groups of 8 terms in the
compute type, then float64.

As in codegen/cuda/update.py, indices are 64 bits and unsigned, and there is no number in the text: what `NAMES` lists
are globals.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from fastopt.specs.norms import TILE_KERNELS
from fastopt.specs.sums import GROUP, LANES

from ..norm import Loop
from ..parse import Function, parse_functions

#: Threads of a block, at most.
THREADS = 256

#: Numbers that the text goes by.
NAMES = {
    "none": 0, "single": 1, "lanes": LANES, "half_the_lanes": LANES // 2, "lane_group": GROUP,
    "group_size": GROUP * LANES,
}  # fmt: skip

HEADER = '''\
"""Generated from fastopt/rules/norm.py by fastopt/codegen/cuda/norm.py: change those, not this."""
'''


#: Where no statistic needs a second pass, its kernels have nothing to do.
LEAVE_UNLESS_ASKED = ["if asked_[none] >= zero64:", "    return"]


@dataclass(frozen=True)
class Array:
    """An array as a kernel has it: how it is stored, and whether it varies along rows or is one value for each."""

    name: str
    storage: str
    along: bool = True


def indent(lines: Sequence[str], depth: int) -> str:
    """Lines of text, so many levels deep."""
    return textwrap.indent("".join(f"{line}\n" for line in lines), "    " * depth)


def inlined(name: str, function: Function) -> str:
    """A function of rules/norm.py, with its body as it stands."""
    arguments = ", ".join(function.arrays + function.scalars)
    return f"@inlined\ndef {name}({arguments}):\n{indent(function.body.splitlines(), 1)}"


def loop_of(source: str, function: str, variant: int) -> tuple[Loop, dict[str, Function]]:
    """Return what codegen/numba/norm.py and codegen/cython/norm.py make their kernels of, too."""
    functions = parse_functions(source)
    kernel = next(kernel for kernel in TILE_KERNELS if kernel.function == function)
    return Loop(kernel, variant, functions[function]), functions


def loaded(array: Array, place: str, dtype: str) -> str:
    """An element in the compute type."""
    element = f"{array.name}_[{place}]"
    return element if array.storage == dtype else f"load_{array.storage}({element})"


def stored(array: Array, place: str, value: str, dtype: str) -> str:
    """A line that rounds a value of the compute type to what the array stores."""
    return f"{array.name}_[{place}] = {value if array.storage == dtype else f'store_{array.storage}({value})'}"
