"""The results as tables, from single measurements to a summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.figure import over, ratio
from benchmarks.grid import Grid
from benchmarks.models.measure import CLIPPED, MODEL, OFFLOADED
from benchmarks.norms.figures import TORCH as NORM_TORCH
from benchmarks.processes import AT_ONCE, ONE_BY_ONE
from benchmarks.random.figures import TORCH as RANDOM_TORCH
from benchmarks.results import Columns, Result, Results
from benchmarks.rules import COMPILED, KEPT
from benchmarks.rules import UPDATE as RULE
from benchmarks.updates.figures import TORCH as UPDATE_TORCH
from benchmarks.updates.figures import late_over_early

#: The columns of all tables of throughput besides PyTorch's: candidates, and the baselines for backend cython.
OWN, COMPARED = ("cython", "numba", "bound", "naive"), ("of bound", "over naive", "over best torch")

#: One-time or small measurements: the measure, and the unit of its time.
CALLS = (
    ("call", "us", 1e6),
    ("cuda call", "us", 1e6),
    ("import", "ms", 1e3),
    ("first update", "ms", 1e3),
    (COMPILED, "ms", 1e3),
    (KEPT, "ms", 1e3),
    (RULE, "us", 1e6),
    (ONE_BY_ONE, "us", 1e6),
    (AT_ONCE, "us", 1e6),
)


def throughput(row: Result) -> float:
    """Return the throughput in GB/s (1e9 bytes)."""
    return row.bytes / row.median / 1e9


def short(number: int) -> str:
    """Return a size in the form 5e7."""
    return f"{number:.0e}".replace("e+0", "e").replace("e+", "e")


def updates_grid(results: Results, sizes: list[int] | None = None) -> Grid:
    """Return the throughput of every candidate, and the speedups of fastopt's default backend."""
    grid = Grid(
        "Updates in float32: GB/s of each candidate, and the speed of backend cython over others",
        ("update", "elements", *OWN, *UPDATE_TORCH, *COMPARED),
    )
    for case in results.cases():
        for elements in sizes or results.sizes():
            columns = {"measure": "update", "case": case, "elements": elements}
            grid.rows.append((case, short(elements), *_compared(results, UPDATE_TORCH, columns)))
    return grid


def models_grid(results: Results) -> Grid:
    """Return the times of a model's step."""
    candidates = ("cython", "flat", "fastopt.torch", *UPDATE_TORCH, "naive")
    headings = ("step", "of", *(f"{name}, ms" for name in candidates), "over torch fused", "over naive")
    grid = Grid("AdamW's step of a whole model", headings, words=2)
    for measure, what in ((MODEL, "update"), (CLIPPED, "clip, check, update"), (OFFLOADED, "offloaded bfloat16")):
        for shape in dict.fromkeys(row.shape for row in results.select(measure=measure)):
            columns = {"measure": measure, "shape": shape}
            times = (results.median(name, **columns) for name in candidates)
            ratios = (over(results, rival, **columns) for rival in ("torch fused", "naive"))
            row = (
                "" if value is None else f"{scale * value:.3g}"
                for scale, some in ((1e3, times), (1, ratios))
                for value in some
            )
            grid.rows.append((what, shape, *row))
    return grid


def norms_grid(results: Results) -> Grid:
    """Return the same table for norms."""
    grid = Grid(
        "Norms: ms of backend cython, GB/s of each candidate, and the speed of backend cython over others",
        ("norm", "shape", "storage", "ms", *OWN, *NORM_TORCH, *COMPARED),
        words=3,
    )
    for norm in results.norms():
        columns = {"measure": "norm", **norm}
        own = results.median("cython", **columns)
        grid.rows.append((*norm.values(), f"{1e3 * own:.3g}", *_compared(results, NORM_TORCH, columns)))
    return grid


def random_grid(results: Results) -> Grid:
    """Return the same table for random numbers."""
    grid = Grid(
        "Random numbers: ms of backend cython, GB/s of each candidate, and the speed of backend cython over others",
        ("what", "storage", "elements", "ms", *OWN, *RANDOM_TORCH, *COMPARED),
        words=2,
    )
    for row in results.select(measure="random", candidate="cython"):
        columns = {"measure": "random", "case": row.case, "elements": row.elements, "storage": row.storage}
        compared_with = _compared(results, RANDOM_TORCH, columns)
        grid.rows.append((row.case, row.storage, short(row.elements), f"{1e3 * row.median:.3g}", *compared_with))
    return grid


def _compared(results: Results, torch: Sequence[str], columns: Columns) -> Iterator[str]:
    """Yield the throughput of every candidate, and the speedups of backend cython, as text."""
    return compared(results, (*OWN, *torch), (("bound",), ("naive",), torch), "cython", columns)


def compared(
    results: Results, candidates: Sequence[str], rivals: Sequence[Sequence[str]], own: str, columns: Columns
) -> Iterator[str]:
    """Yield the throughput of every candidate, and the speedup of one over the best of several rivals, as text."""
    rows = {row.candidate: row for row in results.select(**columns)}
    for name in candidates:
        yield f"{throughput(rows[name]):.1f}" if name in rows else ""
    for some in rivals:
        value = over(results, *some, own=own, **columns)
        yield "" if value is None else f"{value:.2f}"


def storage_grid(results: Results) -> Grid:
    """Return the cost of storing param and grad in another type."""
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
    """Return measurements of overhead."""
    grid = Grid("Overhead", ("what", "by", "median", "lowest", "highest"), words=2)
    for measure, unit, scale in CALLS:
        for row in results.select(measure=measure):
            of = f": {row.case}, {row.shape or f'{row.elements} elements'}" if row.case else ""
            times = (f"{scale * time:.3g} {unit}" for time in (row.median, row.low, row.high))
            grid.rows.append((measure + of, row.candidate, *times))
    return grid


def zero_gradient_grid(results: Results) -> Grid:
    """Return how the time of a step changes over 10,000 zero gradients."""
    grid = Grid("10,000 zero gradients", ("update", "by", "early, us", "late, us", "late over early"), words=2)
    for row in results.select(measure="zero gradient, late"):
        change = late_over_early(results, row.candidate, row.case)
        early = row.median / change
        grid.rows.append((row.case, row.candidate, f"{1e6 * early:.1f}", f"{1e6 * row.median:.1f}", f"{change:.2f}"))
    return grid
