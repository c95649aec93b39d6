"""Norms: their kernels, and those that each pass over the arrays runs, by memory layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

#: The layouts of memory. NCHW: neighbours share a statistic. NHWC: neighbours are channels. ROWS: no spatial axes.
LAYOUTS = ("NCHW", "NHWC", "ROWS")

#: What a kernel's variant adds, as bits: the activation, and the residual connection (backward: its gradient).
VARIANTS = {"PLAIN": 0, "WITH_RELU": 1, "WITH_RESIDUAL": 2}

#: The arrays of a kernel, with those that are written last. "out" is y or dx; "dresidual" is the gradient that the norm
#: passes to a residual. Parameters follow, then two sums, then scratch memory.
ARRAYS = ("x", "dy", "y", "residual", "weight", "out", "dresidual")
MAX_PARAMETERS = 5
PARAMETER = len(ARRAYS)
SUM = PARAMETER + MAX_PARAMETERS
WORK = SUM + 2
SLOTS = WORK + 1

#: The sizes of a tile: rows, columns, the stride between rows of each array, and options.
TILE_ROWS, TILE_COLUMNS, STEP = range(3)
SUM_STEP = STEP + len(ARRAYS)
NONTEMPORAL = SUM_STEP + 1
AHEAD = NONTEMPORAL + 1
SIZES = AHEAD + len(ARRAYS)

#: Number of columns in a block of rows that belong to lanes in turn: the sums of their groups are on the stack.
STRIPE = 64

ROW, COLUMN = "row", "column"

#: The functions of rules/norm.py that compute two terms of sums.
TERMS = ("deviations", "gradient_terms", "weighted_gradient_terms")


@dataclass(frozen=True)
class TileKernel:
    """A kernel: a function, and the axis of the tile along which each parameter varies."""

    name: str
    function: str
    along: tuple[str, ...]
    #: True if terms are computed in float64, whatever the dtypes of the arrays are.
    wide: bool = False
    #: The kernel whose loops reduce each row, or each column, separately: the one along which its parameters vary.
    loops: str = ""
    #: True if it reduces one row that consists of pieces at arbitrary addresses.
    scattered: bool = False

    @property
    def reduces(self) -> bool:
        """True if the kernel reduces terms, False if it writes arrays."""
        return self.function in TERMS

    @property
    def in_turn(self) -> bool:
        """True if successive rows of the kernel belong to successive lanes: they are pixels."""
        return self.reduces and ROW not in self.along and self.function != "weighted_gradient_terms"

    @property
    def variants(self) -> range:
        """The variants that differ: bit 0 is relu, bit 1 is residual."""
        if self.function == "deviations":
            return range(1)
        return range(2) if self.reduces or self.function == "unchanged_gradient" else range(4)


#: A kernel's position is its number in C. NCHW: a row has one statistic. NHWC: a column has one. Rows: a row has its
#: statistic, a column its weight and bias.
TILE_KERNELS = (
    TileKernel("normalise_nchw", "normalise", (ROW, ROW, ROW, ROW, ROW)),
    TileKernel("normalise_nhwc", "normalise", (COLUMN, COLUMN, COLUMN, COLUMN, COLUMN)),
    TileKernel("normalise_rows", "normalise", (ROW, ROW, ROW, COLUMN, COLUMN)),
    TileKernel("input_gradient_nchw", "input_gradient", (ROW, ROW, ROW, ROW, ROW)),
    TileKernel("input_gradient_nhwc", "input_gradient", (COLUMN, COLUMN, COLUMN, COLUMN, COLUMN)),
    TileKernel("input_gradient_rows", "input_gradient", (ROW, ROW, ROW, ROW, COLUMN)),
    TileKernel("input_gradient_fixed_nchw", "input_gradient_fixed", (ROW, ROW)),
    TileKernel("input_gradient_fixed_nhwc", "input_gradient_fixed", (COLUMN, COLUMN)),
    TileKernel("unchanged", "unchanged", ()),
    TileKernel("unchanged_gradient", "unchanged_gradient", ()),
    TileKernel("deviations", "deviations", (COLUMN,)),
    TileKernel("wide_deviations", "deviations", (COLUMN,), wide=True),
    TileKernel("gradient_terms", "gradient_terms", (COLUMN, COLUMN)),
    TileKernel("weighted_gradient_terms", "weighted_gradient_terms", (COLUMN, COLUMN)),
    TileKernel("parameter_terms", "gradient_terms", (ROW, ROW)),
    TileKernel("deviations_by_row", "deviations", (ROW,), loops="deviations"),
    TileKernel("wide_deviations_by_row", "deviations", (ROW,), wide=True, loops="wide_deviations"),
    TileKernel("gradient_terms_by_row", "gradient_terms", (ROW, ROW), loops="gradient_terms"),
    TileKernel(
        "weighted_gradient_terms_by_row", "weighted_gradient_terms", (ROW, ROW), loops="weighted_gradient_terms"
    ),
    TileKernel("deviations_by_column", "deviations", (COLUMN,), loops="deviations"),
    TileKernel("wide_deviations_by_column", "deviations", (COLUMN,), wide=True, loops="wide_deviations"),
    TileKernel("gradient_terms_by_column", "gradient_terms", (COLUMN, COLUMN), loops="gradient_terms"),
    TileKernel("scattered_deviations", "deviations", (ROW,), loops="deviations", scattered=True),
    TileKernel("wide_scattered_deviations", "deviations", (ROW,), wide=True, loops="wide_deviations", scattered=True),
    TileKernel("scattered_gradient_terms", "gradient_terms", (ROW, ROW), loops="gradient_terms", scattered=True),
)


class Reduction(NamedTuple):
    """The kernels that reduce terms, for the first statistics pass and for the second; None if there is none.

    A partial reducer adds to the sums of lanes. A full one writes complete sums, by row or (NHWC) by column. A
    scattered one writes complete sums of elements at arbitrary addresses.
    """

    partial: tuple[str | None, str | None] = (None, None)
    full: tuple[str | None, str | None] = (None, None)
    scattered: tuple[str | None, str | None] = (None, None)


DEVIATIONS_BY_ROW = Reduction(
    ("deviations", "wide_deviations"),
    ("deviations_by_row", "wide_deviations_by_row"),
    ("scattered_deviations", "wide_scattered_deviations"),
)
DEVIATIONS_BY_COLUMN = Reduction(
    ("deviations", "wide_deviations"), ("deviations_by_column", "wide_deviations_by_column")
)
GRADIENTS_BY_ROW = Reduction(
    ("gradient_terms", None), ("gradient_terms_by_row", None), ("scattered_gradient_terms", None)
)
GRADIENTS_BY_COLUMN = Reduction(("gradient_terms", None), ("gradient_terms_by_column", None))
WEIGHTED_GRADIENTS = Reduction(("weighted_gradient_terms", None), ("weighted_gradient_terms_by_row", None))


@dataclass(frozen=True)
class Op:
    """A pass over a norm's arrays: the kernels that reduce, and the one that writes the results, by layout."""

    reduce: dict[str, Reduction] = field(default_factory=dict)
    apply: dict[str, str] = field(default_factory=dict)


_DEVIATIONS = {"NCHW": DEVIATIONS_BY_ROW, "NHWC": DEVIATIONS_BY_COLUMN, "ROWS": DEVIATIONS_BY_ROW}
_NORMALISE = {"NCHW": "normalise_nchw", "NHWC": "normalise_nhwc", "ROWS": "normalise_rows"}

#: The passes. Additions are residual connections without a norm: they have no statistics. In inference, mean and
#: variance do not depend on x; only batch norm has it, and always has spatial axes.
OPS = {
    "MOMENTS": Op(_DEVIATIONS),
    "FORWARD": Op(_DEVIATIONS, _NORMALISE),
    "INFERENCE": Op(apply=_NORMALISE),
    "ADDITION": Op(apply=dict.fromkeys(LAYOUTS, "unchanged")),
    "ADDITION_BACKWARD": Op(apply=dict.fromkeys(LAYOUTS, "unchanged_gradient")),
    "BACKWARD": Op(
        {"NCHW": GRADIENTS_BY_ROW, "NHWC": GRADIENTS_BY_COLUMN, "ROWS": WEIGHTED_GRADIENTS},
        {"NCHW": "input_gradient_nchw", "NHWC": "input_gradient_nhwc", "ROWS": "input_gradient_rows"},
    ),
    "BACKWARD_INFERENCE": Op(
        {"NCHW": GRADIENTS_BY_ROW, "NHWC": GRADIENTS_BY_COLUMN, "ROWS": GRADIENTS_BY_ROW},
        {"NCHW": "input_gradient_fixed_nchw", "NHWC": "input_gradient_fixed_nhwc"},
    ),
}

#: The norms, in the order of their numbers in the engine.
NORMS = ("batch", "instance", "group", "layer")
