"""A device's results as tables."""

from __future__ import annotations

from benchmarks.device.figures import CUDNN, DEVICE_FIGURES, FUSED
from benchmarks.device.measure import NORM, RANDOM, SCALING, UPDATE
from benchmarks.figures import asked_and_measured
from benchmarks.grid import Grid
from benchmarks.norms.figures import TORCH as NORM_TORCH
from benchmarks.random.figures import TORCH as RANDOM_TORCH
from benchmarks.report import compared, short
from benchmarks.results import Results

TITLE = "on the device, in float32: GB/s of each candidate, and the speed of fastopt over others"


def device_updates_grid(results: Results) -> Grid:
    """Return the throughput of every candidate for every size and list, and fastopt's speedups."""
    candidates, rivals = ("fastopt", "copy", *FUSED, "torch foreach", "cupy"), (("copy",), FUSED, ("cupy",))
    headings = ("update", "of", *candidates, "of copy", "over torch fused", "over cupy")
    grid = Grid(f"AdamW {TITLE}", headings, words=2)
    sizes = dict.fromkeys((row.case, row.elements, row.shape) for row in results.select(measure=UPDATE))
    for case, elements, shape in sizes:
        columns = {"measure": UPDATE, "case": case, "elements": elements, "shape": shape}
        of = shape or f"{short(elements)} elements"
        grid.rows.append((case, of, *compared(results, candidates, rivals, "fastopt", columns)))
    return grid


def device_norms_grid(results: Results) -> Grid:
    """Return the same table for norms; PyTorch's module uses cuDNN."""
    candidates, rivals = ("fastopt", "copy", *NORM_TORCH), (("copy",), (CUDNN,))
    headings = ("norm", "shape", *candidates, "of copy", "over cuDNN")
    grid = Grid(f"Norms {TITLE}", headings, words=2)
    for case, shape in dict.fromkeys((row.case, row.shape) for row in results.select(measure=NORM)):
        columns = {"measure": NORM, "case": case, "shape": shape}
        grid.rows.append((case, shape, *compared(results, candidates, rivals, "fastopt", columns)))
    return grid


def device_random_grid(results: Results) -> Grid:
    """Return the same table for random numbers; a copy reads as many bytes as it writes, a fill reads none."""
    candidates, rivals = ("fastopt", "copy", *RANDOM_TORCH), (("copy",), RANDOM_TORCH)
    headings = ("what", "storage", "elements", *candidates, "of copy", "over torch")
    title = "Random numbers on the device: GB/s of each candidate, and the speed of fastopt over others"
    grid = Grid(title, headings, words=2)
    for row in results.select(measure=RANDOM, candidate="fastopt"):
        columns = {"measure": RANDOM, "case": row.case, "elements": row.elements, "storage": row.storage}
        compared_with = compared(results, candidates, rivals, "fastopt", columns)
        grid.rows.append((row.case, row.storage, short(row.elements), *compared_with))
    return grid


def device_scaling_grid(results: Results) -> Grid:
    """Return the same table for scalers; a fit synchronises, and so does a transform unless NaN is ignored."""
    candidates, rivals = ("fastopt", "nan ignored", "copy", "torch op"), (("copy",), ("torch op",))
    headings = ("scaler", "x", *candidates, "of copy", "over torch")
    title = "Feature scaling on the device, in float32: GB/s of each candidate, and the speed of fastopt over others"
    grid = Grid(title, headings, words=2)
    for row in results.select(measure=SCALING, candidate="fastopt"):
        columns = {"measure": SCALING, "case": row.case, "shape": row.shape}
        grid.rows.append((row.case, row.shape, *compared(results, candidates, rivals, "fastopt", columns)))
    return grid


def device_figures_grid(results: Results, unmeasured: bool = False) -> Grid:
    """Return the device's figures that these results determine; if requested, also the others."""
    return asked_and_measured(DEVICE_FIGURES, results, unmeasured)
