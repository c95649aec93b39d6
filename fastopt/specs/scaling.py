"""Feature scaling: its kernels, which run the functions of rules/scaling.py, and what varies along what."""

from __future__ import annotations

from dataclasses import dataclass

#: The sizes that a kernel takes: rows, columns, and the elements from row to row. Its arrays are x, then the others as
#: the function names them.
ROWS, COLUMNS, STEP = range(3)

#: Rows that pass while the values of a column that they change stay in registers.
BLOCK_ROWS = 8

#: The arguments that are the same for all columns.
SHARED_BY_COLUMNS = ("one",)


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


#: A position is a kernel's number in C.
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
