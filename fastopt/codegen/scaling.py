"""The kernels of feature scaling: which function of rules/scaling.py each runs, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass

from .parse import Function

#: The sizes that a kernel takes: rows, columns, and the elements from row to row. Its arrays are x, then the others as
#: the function names them.
ROWS, COLUMNS, STEP = range(3)

#: Rows that pass while the values of a column that they change stay in registers.
GROUP = 8


@dataclass(frozen=True)
class ScalingKernel:
    """A kernel: a function, and what varies along what."""

    name: str
    function: str
    #: The column's values that change, its statistics. None: x changes.
    stats: tuple[str, ...] = ()
    #: True if the values belong to rows, because features are rows in memory.
    by_row: bool = False
    #: True if all is computed in float64, whatever x is.
    wide: bool = False

    def uniform(self, name: str) -> bool:
        """Return whether a value is the same for all columns."""
        return name == "one"


#: In the order of ``enum scaling_kernel`` in engine/scaling/scaling.h.
SCALING_KERNELS = (
    ScalingKernel("scale_columns", "scale"),
    ScalingKernel("scale_rows", "scale", by_row=True),
    ScalingKernel("column_stats", "column_stats", ("count", "total", "squares", "lowest", "highest"), wide=True),
    ScalingKernel("nonfinite_probe", "nonfinite_probe", ("nonfinite",)),
)


def element(kernel: ScalingKernel, function: Function, x: str) -> str:
    """What the function makes of an element, as both compilers write it: values are variables of their own names."""
    return f"{kernel.function}({', '.join([x, *function.scalars])})"
