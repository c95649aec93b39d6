"""Feature scaling: its kernels, which run the functions of rules/scaling.py, and the axes of their arguments."""

from __future__ import annotations

from dataclasses import dataclass

#: The sizes that a kernel takes: rows, columns, and the stride between rows. Its arrays are x, then the others as named
#: in the function.
ROWS, COLUMNS, STEP = range(3)

#: Number of rows that are processed while the statistics of a column stay in registers.
BLOCK_ROWS = 8

#: The arguments that are the same for all columns.
SHARED_BY_COLUMNS = ("one",)


@dataclass(frozen=True)
class ScalingKernel:
    """A kernel: a function, and the axes along which its arguments vary."""

    name: str
    function: str
    #: The values of a column that change, its statistics. None: x changes.
    stats: tuple[str, ...] = ()
    #: True if the values belong to rows, because features are rows in memory.
    by_row: bool = False
    #: True if everything is computed in float64, whatever the dtype of x is.
    wide: bool = False


#: A kernel's position is its number in C.
SCALING_KERNELS = (
    ScalingKernel("scale_columns", "scale"),
    ScalingKernel("scale_rows", "scale", by_row=True),
    ScalingKernel("column_stats", "column_stats", ("count", "total", "squares", "lowest", "highest"), wide=True),
    ScalingKernel("nonfinite_probe", "nonfinite_probe", ("nonfinite",)),
)

#: The statistics of a feature, in the order of the kernel's arguments.
STATISTICS = next(kernel.stats for kernel in SCALING_KERNELS if kernel.name == "column_stats")

#: The arguments of `scale`, after x.
SCALES = ("centre", "divisor", "factor", "shift")
