"""Norms: their kernels, and which of them each pass over the arrays runs, in each layout of memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

#: The layouts of memory. NCHW: neighbours share a statistic. NHWC: neighbours are channels. ROWS: there is no space.
LAYOUTS = ("NCHW", "NHWC", "ROWS")

#: What a kernel's variant adds: the activation, and the residual connection (backward: its gradient). Bits.
VARIANTS = {"PLAIN": 0, "WITH_RELU": 1, "WITH_RESIDUAL": 2}

#: The arrays of a kernel; those that are written come last. "out" is y or dx; "dresidual" is the gradient that the norm
#: passes on to a residual. Parameters follow, then two sums, then memory to work in.
ARRAYS = ("x", "dy", "y", "residual", "weight", "out", "dresidual")
MAX_PARAMETERS = 5
PARAMETER = len(ARRAYS)
SUM = PARAMETER + MAX_PARAMETERS
WORK = SUM + 2
SLOTS = WORK + 1

#: The sizes of a tile: rows, columns, each array's distance from row to row, and options.
TILE_ROWS, TILE_COLUMNS, STEP = range(3)
SUM_STEP = STEP + len(ARRAYS)
NONTEMPORAL = SUM_STEP + 1
AHEAD = NONTEMPORAL + 1
SIZES = AHEAD + len(ARRAYS)

#: Columns of rows whose lanes take turns, kept together: their groups' sums wait on the stack.
STRIPE = 64

ROW, COLUMN = "row", "column"

#: The functions of rules/norm.py that compute two terms of sums.
TERMS = ("deviations", "gradient_terms", "weighted_gradient_terms")


@dataclass(frozen=True)
class TileKernel:
    """A kernel: a function, and along which axis of the tile each parameter varies."""

    name: str
    function: str
    along: tuple[str, ...]
    #: True if terms are evaluated in float64, whatever the arrays are.
    wide: bool = False
    #: The kernel whose loops add up each row, or each column, by itself: along which its parameters vary.
    loops: str = ""
    #: True if it adds up one row, pieces of which stand anywhere.
    scattered: bool = False

    @property
    def reduces(self) -> bool:
        """True if the kernel adds up terms, false if it writes arrays."""
        return self.function in TERMS

    @property
    def in_turn(self) -> bool:
        """True if the kernel's rows belong to lanes in turn: they are pixels."""
        return self.reduces and ROW not in self.along and self.function != "weighted_gradient_terms"

    @property
    def variants(self) -> range:
        """The variants that make a difference: bit 0 says relu, bit 1 residual."""
        if self.function == "deviations":
            return range(1)
        return range(2) if self.reduces or self.function == "unchanged_gradient" else range(4)


#: A position is a kernel's number in C. NCHW: a row has one statistic. NHWC: a column has one. Rows: a row has its
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
    """The kernels that add up terms, for the first statistics pass and for the second; None: there is none.

    A partial reducer adds to the sums of lanes. A full one writes whole sums, by row or (NHWC) by column. A scattered
    one writes whole sums of elements that lie anywhere.
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
    """A pass over a norm's arrays: which kernels reduce, and which one writes the results, by layout."""

    reduce: dict[str, Reduction] = field(default_factory=dict)
    apply: dict[str, str] = field(default_factory=dict)


_DEVIATIONS = {"NCHW": DEVIATIONS_BY_ROW, "NHWC": DEVIATIONS_BY_COLUMN, "ROWS": DEVIATIONS_BY_ROW}
_NORMALISE = {"NCHW": "normalise_nchw", "NHWC": "normalise_nhwc", "ROWS": "normalise_rows"}

#: The passes. Additions are residual connections without a norm: elements without statistics. In inference, mean and
#: variance do not depend on x; only batch norm has it, which always has space.
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

#: The norms, in the order of the engine's numbers of kinds.
NORMS = ("batch", "instance", "group", "layer")
