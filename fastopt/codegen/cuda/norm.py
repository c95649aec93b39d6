"""The common parts of the norms' kernels for CUDA devices; each kind of kernel has a file.

Every norm is reduced to rows of elements (see `fastopt.device.norm_plan`). Strides determine how an array varies
(`places`): a mean has stride 0 along axes that its statistic covers. Sums follow the fixed tree of
``engine/core/sum_tree.h``, and so have the same bits as on the host: parts of 2,048 elements, 16 lanes, and groups of 8
terms in the compute type, which are then added in float64.
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

#: Maximum number of threads of a block
THREADS = 256

#: Constants for the texts: the squared limit of the distance between the first pass's centre and the mean in standard
#: deviations, and the variance below which squares of float32 deviations may be subnormal.
NUMBERS = {
    "lanes": LANES, "half_the_lanes": LANES // 2, "lane_group": GROUP, "group_size": GROUP * LANES,
    "farthest": 16.0, "least_variance": 2.0**-96, "huge": 1.7976931348623157e308, "waiting": -1.0,
}  # fmt: skip

#: Kernels of the second pass return at once if no statistic needs it.
LEAVE_UNLESS_ASKED = ["if asked_[none] >= zero64:", "    return"]


@dataclass(frozen=True)
class Array:
    """An array of a kernel: its name, its storage type, and whether it varies along rows or has one value per row."""

    name: str
    storage: str
    along: bool = True


@dataclass(frozen=True)
class NormKernel(Written):
    """Arrays and the number of axes of their rows."""

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
        """The starts of arrays, and their strides between rows."""
        return [word for each in self.arrays for word in (f"{each.name}_start", *strides(each.name, "r", self.rows))]

    def find_row(self) -> list[str]:
        """Return the lines that find this row's values."""
        places = [(each.name, f"{each.name}_row", f"{each.name}_start") for each in self.all_arrays]
        return find("row", "r", self.rows, places)

    def load(self, array: Array, place: str) -> str:
        """Return an element in the compute type."""
        return loaded(f"{array.name}_[{place}]", array.storage, self.dtype)

    def store(self, array: Array, place: str, value: str) -> str:
        """Return a line that stores a value of the compute type, rounded to the array's storage type."""
        return f"{array.name}_[{place}] = {stored(value, array.storage, self.dtype)}"


@dataclass(frozen=True)
class LoopKernel(NormKernel):
    """A kernel that calls a function of rules/norm.py for every element."""

    function: str
    variant: int

    @property
    def name(self) -> str:
        return self.function

    @cached_property
    def loop(self) -> Loop:
        """Return the kernel description that codegen/numba/norm.py and codegen/cython/norm.py also use."""
        kernel = next(kernel for kernel in TILE_KERNELS if kernel.function == self.function)
        return Loop(kernel, self.variant, self.functions[self.function])
