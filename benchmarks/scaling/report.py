"""The table of scalers."""

from __future__ import annotations

from benchmarks.grid import Grid
from benchmarks.report import compared
from benchmarks.results import Results
from benchmarks.scaling.measure import SCALING

CANDIDATES = ("cython", "nan ignored", "numba", "bound", "naive", "sklearn", "sklearn copy")

#: The fastest of each group counts.
RIVALS = (("bound",), ("naive",), ("sklearn", "sklearn copy"))


def scaling_grid(results: Results) -> Grid:
    """Return the throughput of every candidate, and the speedups of fastopt's default."""
    grid = Grid(
        "Feature scaling in float32: ms of backend cython, GB/s of each candidate, and the former's speed over others",
        ("scaler", "x", "ms", *CANDIDATES, "of bound", "over naive", "over best sklearn"),
        words=2,
    )
    for row in results.select(measure=SCALING, candidate="cython"):
        columns = {"measure": SCALING, "case": row.case, "shape": row.shape}
        grid.rows.append(
            (row.case, row.shape, f"{1e3 * row.median:.3g}", *compared(results, CANDIDATES, RIVALS, "cython", columns))
        )
    return grid
