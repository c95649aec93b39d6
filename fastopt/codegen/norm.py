"""The kernels of the norms: which function of rules/norm.py each runs, and what varies along rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

from .parse import Function

#: The arrays of a kernel, in the order of ``enum slot`` in engine/norm/panel.h. Parameters follow, then the two sums.
ARRAYS = ("x", "dy", "y", "residual", "weight", "out", "dresidual")
PARAMETER = len(ARRAYS)
SUM = PARAMETER + 5
WORK = SUM + 2

#: The sizes of a panel, in the order of ``enum size`` there.
ROWS, COLUMNS, STEP = range(3)
SUM_STEP = STEP + len(ARRAYS)
PAST = SUM_STEP + 1
AHEAD = PAST + 1

#: Rows whose terms are added up before they join the sums of their columns, as GROUP there. Float64 sums of every row
#: would take two to three times as long; and eight float32 terms lose little.
GROUP = 8

#: Columns of what is summed up along a line, as LANES in engine/norm/panel.h.
LANES = 16

#: Columns of rows whose lanes take turns, as STRIPE there: their groups' sums wait on the stack.
STRIPE = 64

ROW, COLUMN = "row", "column"


@dataclass(frozen=True)
class Panel:
    """A kernel: a function, and along which axis of the panel each parameter varies."""

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
    def sums(self) -> bool:
        """True if the kernel adds up terms, false if it writes arrays."""
        return self.function.endswith(("terms", "deviations"))

    @property
    def pixels(self) -> bool:
        """True if the kernel adds up pixels, whose rows belong to lanes in turn."""
        return self.sums and ROW not in self.along and not self.function.startswith("weighted")

    @property
    def forms(self) -> range:
        """The forms that make a difference: bit 0 says relu, bit 1 residual."""
        if self.function == "deviations":
            return range(1)
        return range(2) if self.sums or self.function == "unchanged_gradient" else range(4)


#: In the order of ``enum panel_kernel`` in engine/norm/panel.h. Rows: a row has one statistic (planes of channels);
#: columns: a column has (channels last); samples: a row has its statistic, a column its weight and bias.
PANELS = (
    Panel("normalise_rows", "normalise", (ROW, ROW, ROW, ROW, ROW)),
    Panel("normalise_columns", "normalise", (COLUMN, COLUMN, COLUMN, COLUMN, COLUMN)),
    Panel("normalise_samples", "normalise", (ROW, ROW, ROW, COLUMN, COLUMN)),
    Panel("input_gradient_rows", "input_gradient", (ROW, ROW, ROW, ROW, ROW)),
    Panel("input_gradient_columns", "input_gradient", (COLUMN, COLUMN, COLUMN, COLUMN, COLUMN)),
    Panel("input_gradient_samples", "input_gradient", (ROW, ROW, ROW, ROW, COLUMN)),
    Panel("input_gradient_fixed_rows", "input_gradient_fixed", (ROW, ROW)),
    Panel("input_gradient_fixed_columns", "input_gradient_fixed", (COLUMN, COLUMN)),
    Panel("unchanged", "unchanged", ()),
    Panel("unchanged_gradient", "unchanged_gradient", ()),
    Panel("deviations", "deviations", (COLUMN,)),
    Panel("wide_deviations", "deviations", (COLUMN,), wide=True),
    Panel("gradient_terms", "gradient_terms", (COLUMN, COLUMN)),
    Panel("weighted_gradient_terms", "weighted_gradient_terms", (COLUMN, COLUMN)),
    Panel("parameter_terms", "gradient_terms", (ROW, ROW)),
    Panel("deviations_by_row", "deviations", (ROW,), loops="deviations"),
    Panel("wide_deviations_by_row", "deviations", (ROW,), wide=True, loops="wide_deviations"),
    Panel("gradient_terms_by_row", "gradient_terms", (ROW, ROW), loops="gradient_terms"),
    Panel("weighted_gradient_terms_by_row", "weighted_gradient_terms", (ROW, ROW), loops="weighted_gradient_terms"),
    Panel("deviations_by_column", "deviations", (COLUMN,), loops="deviations"),
    Panel("wide_deviations_by_column", "deviations", (COLUMN,), wide=True, loops="wide_deviations"),
    Panel("gradient_terms_by_column", "gradient_terms", (COLUMN, COLUMN), loops="gradient_terms"),
    Panel("scattered_deviations", "deviations", (ROW,), loops="deviations", scattered=True),
    Panel("wide_scattered_deviations", "deviations", (ROW,), wide=True, loops="wide_deviations", scattered=True),
    Panel("scattered_gradient_terms", "gradient_terms", (ROW, ROW), loops="gradient_terms", scattered=True),
)


@dataclass(frozen=True)
class Loop:
    """A kernel in one of its forms, as both compilers need it."""

    panel: Panel
    form: int
    function: Function
    #: True if the arrays store bfloat16, of which nothing goes past the caches.
    bfloat16: bool = False

    @property
    def name(self) -> str:
        """The kernel's name, which no function has."""
        return f"{self.panel.name}_kernel{self.form}"

    @property
    def relu(self) -> bool:
        """The activation is part of it."""
        return bool(self.form & 1)

    @property
    def residual(self) -> bool:
        """The residual connection is part of it."""
        return bool(self.form & 2)

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
        if self.panel.sums:
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
        return tuple(zip(self.function.scalars, self.panel.along, strict=True))


def loops(functions: dict[str, Function], bfloat16: bool = False) -> list[Loop]:
    """Return every kernel in each of its forms."""
    return [Loop(panel, form, functions[panel.function], bfloat16) for panel in PANELS for form in panel.forms]
