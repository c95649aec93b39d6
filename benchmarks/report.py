"""The results as tables, from every single measurement to a summary."""

from __future__ import annotations

from benchmarks.figures import TORCH, late_over_early, ratio
from benchmarks.grid import Grid
from benchmarks.results import Result, Results

CANDIDATES = ("cython", "numba", "bound", "naive", *TORCH)


def throughput(row: Result) -> float:
    """Return GB/s, of 1e9 bytes."""
    return row.bytes / row.median / 1e9


def short(number: int) -> str:
    """Return a size as in 5e7."""
    return f"{number:.0e}".replace("e+0", "e").replace("e+", "e")


def updates_grid(results: Results, sizes: list[int] | None = None) -> Grid:
    """Return the throughput of every candidate, and the speed of fastopt's default backend over others."""
    grid = Grid(
        "Updates in float32: GB/s of each candidate, and the speed of backend cython over others",
        ("update", "elements", *CANDIDATES, "of bound", "over naive", "over best torch"),
    )
    for case in results.cases():
        for elements in sizes or results.sizes():
            rows = {row.candidate: row for row in results.select(measure="update", case=case, elements=elements)}
            speeds = (f"{throughput(rows[name]):.1f}" if name in rows else "" for name in CANDIDATES)
            ratios = ("" if value is None else f"{value:.2f}" for value in _comparisons(results, case, elements))
            grid.rows.append((case, short(elements), *speeds, *ratios))
    return grid


def _comparisons(results: Results, case: str, elements: int) -> list[float | None]:
    """The speed of backend cython over the bound, naive NumPy and the best of PyTorch."""
    columns = {"case": case, "elements": elements}
    own = results.median("cython", **columns)
    return [ratio(results.best(*rivals, **columns), own) for rivals in (("bound",), ("naive",), TORCH)]


def storage_grid(results: Results) -> Grid:
    """Return what storing param and grad in another type costs."""
    grid = Grid(
        "Storage of param and grad (the state of bfloat16 is float32)",
        ("update", "storage", "elements", "ms", "GB/s", "of bound", "time over float32"),
        words=2,
    )
    for row in results.select(measure="storage", candidate="cython"):
        columns = {"case": row.case, "elements": row.elements}
        bound = results.median("bound", "storage", **columns, storage=row.storage)
        float32 = results.median("cython", "storage", **columns, storage="float32")
        ratios = (f"{ratio(bound, row.median):.2f}", f"{ratio(row.median, float32):.2f}")
        time = f"{1e3 * row.median:.3g}"
        grid.rows.append((row.case, row.storage, short(row.elements), time, f"{throughput(row):.1f}", *ratios))
    return grid


def calls_grid(results: Results) -> Grid:
    """Return what does not depend on memory."""
    grid = Grid("Once, and small", ("what", "by", "median", "lowest", "highest"), words=2)
    for measure, unit, scale in (("call", "us", 1e6), ("import", "ms", 1e3), ("first update", "ms", 1e3)):
        for row in results.select(measure=measure):
            what = f"{measure}: {row.case}, {row.elements} elements" if row.elements else measure
            times = (f"{scale * time:.3g} {unit}" for time in (row.median, row.low, row.high))
            grid.rows.append((what, row.candidate, *times))
    return grid


def zero_gradient_grid(results: Results) -> Grid:
    """Return how the time of a step changes over 10,000 zero gradients."""
    grid = Grid("10,000 zero gradients", ("update", "by", "early, us", "late, us", "late over early"), words=2)
    for row in results.select(measure="zero gradient, late"):
        change = late_over_early(results, row.candidate, row.case)
        early = row.median / change
        grid.rows.append((row.case, row.candidate, f"{1e6 * early:.1f}", f"{1e6 * row.median:.1f}", f"{change:.2f}"))
    return grid
