"""What the norms' kernels for CUDA devices have in common, of which each kind has a file.

Every norm is rows of elements; `fastopt.device.norm_plan` says which. What each array is to a kernel, its strides
say (`places`): a mean has stride 0 wherever its statistic goes on. Sums are the fixed tree of
``engine/core/sum_tree.h``, and so have the bits of the host: parts of 2,048, lanes of 16, groups of 8 terms in the
compute type, then float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fastopt.specs.norms import TILE_KERNELS
from fastopt.specs.sums import GROUP, LANES

from ..norm import Loop
from .kernel import Written, loaded, stored
from .places import find, strides

#: Threads of a block, at most.
THREADS = 256

#: Numbers that the texts go by. The first pass's centre is so many standard deviations from the mean at most, squared;
#: and below this variance squares of float32 deviations might be subnormal, and so lost.
NUMBERS = {
    "lanes": LANES, "half_the_lanes": LANES // 2, "lane_group": GROUP, "group_size": GROUP * LANES,
    "farthest": 16.0, "least_variance": 2.0**-96, "huge": 1.7976931348623157e308, "waiting": -1.0,
}  # fmt: skip

#: Where no statistic needs a second pass, its kernels have nothing to do.
LEAVE_UNLESS_ASKED = ["if asked_[none] >= zero64:", "    return"]


@dataclass(frozen=True)
class Array:
    """An array as a kernel has it: how it is stored, and whether it varies along rows or is one value for each."""

    name: str
    storage: str
    along: bool = True


@dataclass(frozen=True)
class NormKernel(Written):
    """Arrays, and along how many axes its rows are."""

    arrays: tuple[Array, ...]
    dtype: str
    rows: int

    @property
    def all_arrays(self) -> tuple[Array, ...]:
        return self.arrays

    @property
    def pointers(self) -> list[tuple[str, str]]:
        return [(each.name, each.storage) for each in self.all_arrays]

    @property
    def numbers(self) -> Mapping[str, float]:
        return NUMBERS

    def places(self) -> list[str]:
        """The starts of arrays, and their strides from row to row."""
        return [word for each in self.arrays for word in (f"{each.name}_start", *strides(each.name, "r", self.rows))]

    def find_row(self) -> list[str]:
        """Where this row's values are."""
        places = [(each.name, f"{each.name}_row", f"{each.name}_start") for each in self.all_arrays]
        return find("row", "r", self.rows, places)

    def load(self, array: Array, place: str) -> str:
        """An element in the compute type."""
        return loaded(f"{array.name}_[{place}]", array.storage, self.dtype)

    def store(self, array: Array, place: str, value: str) -> str:
        """A line that rounds a value of the compute type to what the array stores."""
        return f"{array.name}_[{place}] = {stored(value, array.storage, self.dtype)}"


@dataclass(frozen=True)
class LoopKernel(NormKernel):
    """A kernel that runs a function of rules/norm.py for every element."""

    function: str
    variant: int

    @property
    def name(self) -> str:
        return self.function

    @cached_property
    def loop(self) -> Loop:
        """What codegen/numba/norm.py and codegen/cython/norm.py make their kernels of, too."""
        kernel = next(kernel for kernel in TILE_KERNELS if kernel.function == self.function)
        return Loop(kernel, self.variant, self.functions[self.function])
