"""The kernels of the norms: which function of rules/norm.py each runs, and what varies along rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

from .parse import Function

#: The arrays of a kernel, in the order of ``enum slot`` in engine/norm/tile_kernel.h. Parameters follow, then two sums.
ARRAYS = ("x", "dy", "y", "residual", "weight", "out", "dresidual")
PARAMETER = len(ARRAYS)
SUM = PARAMETER + 5
WORK = SUM + 2

#: The sizes of a tile, in the order of ``enum size`` there.
TILE_ROWS, TILE_COLUMNS, STEP = range(3)
SUM_STEP = STEP + len(ARRAYS)
NONTEMPORAL = SUM_STEP + 1
AHEAD = NONTEMPORAL + 1

#: Rows whose terms are added up before they join the sums of their columns, as GROUP in engine/core/sum_tree.h. Float64
#: sums of every row would take two to three times as long; and eight float32 terms lose little.
GROUP = 8

#: Columns of what is summed up along a line, as LANES in engine/core/sum_tree.h.
LANES = 16

#: Columns of rows whose lanes take turns, as STRIPE in engine/norm/tile_kernel.h: their groups' sums wait on the stack.
STRIPE = 64

ROW, COLUMN = "row", "column"


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
        return self.function.endswith(("terms", "deviations"))

    @property
    def in_turn(self) -> bool:
        """True if the kernel's rows belong to lanes in turn: they are pixels."""
        return self.reduces and ROW not in self.along and not self.function.startswith("weighted")

    @property
    def variants(self) -> range:
        """The variants that make a difference: bit 0 says relu, bit 1 residual."""
        if self.function == "deviations":
            return range(1)
        return range(2) if self.reduces or self.function == "unchanged_gradient" else range(4)


#: In the order of ``enum tile_kernel`` in engine/norm/tile_kernel.h. NCHW: a row has one statistic. NHWC: a column has
#: one. Rows: a row has its statistic, a column its weight and bias.
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


@dataclass(frozen=True)
class Loop:
    """A kernel in one of its variants, as both compilers need it."""

    kernel: TileKernel
    variant: int
    function: Function
    #: True if the arrays store bfloat16, which has no non-temporal stores.
    bfloat16: bool = False

    @property
    def name(self) -> str:
        """The kernel's name, which no function has."""
        return f"{self.kernel.name}_kernel{self.variant}"

    @property
    def relu(self) -> bool:
        """The activation is part of it."""
        return bool(self.variant & 1)

    @property
    def residual(self) -> bool:
        """The residual connection is part of it."""
        return bool(self.variant & 2)

    @property
    def backward(self) -> bool:
        """The kernel takes a gradient."""
        return "dy" in self.function.arrays

    @property
    def read(self) -> tuple[str, ...]:
        """The arrays that the kernel reads."""
        gate = ("y",) if self.backward and self.relu else ()
        residual = ("residual",) if self.residual and not self.backward else ()
        return self.function.arrays + gate + residual

    @property
    def written(self) -> tuple[str, ...]:
        """The arrays that it writes: none if it adds up."""
        if self.kernel.reduces:
            return ()
        return ("out", "dresidual") if self.backward and self.residual else ("out",)

    @property
    def gradient(self) -> str:
        """The function that makes the norm's gradient of dy."""
        return "gradient_relu" if self.relu else "gradient"

    @property
    def finish(self) -> str:
        """The function that follows in a forward pass."""
        return "finish" + "_residual" * self.residual + "_relu" * self.relu

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """Each parameter, and along what it varies."""
        return tuple(zip(self.function.scalars, self.kernel.along, strict=True))


def loops(functions: dict[str, Function], bfloat16: bool = False) -> list[Loop]:
    """Return every kernel in each of its variants."""
    return [
        Loop(kernel, variant, functions[kernel.function], bfloat16)
        for kernel in TILE_KERNELS
        for variant in kernel.variants
    ]
