"""Throughput of norms, as bars."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.machine import machine_line
from benchmarks.norms.figures import TORCH
from benchmarks.report import throughput
from benchmarks.results import Results

#: The bars of a norm, from the top: a label, the candidates (the fastest counts), and the colour.
BARS = [
    ("fastopt, cython", ("cython",), "#0b5fa5"),
    ("PyTorch, fastest mode", TORCH, "#d9541e"),
    ("naive NumPy", ("naive",), "#8a8a8a"),
]

#: Relative to the distance between two norms
HEIGHT = 0.25


def draw_norms(results: Results, path: Path) -> None:
    """Save a group of bars for each norm, with the bound as a line across it."""
    norms = results.norms()
    figure, panel = plt.subplots(figsize=(10, 1.6 + 0.46 * len(norms)), layout="constrained")
    for i, norm in enumerate(norms):
        _draw_norm(panel, results, norm, i)
    panel.set_yticks(range(len(norms)), [_label(norm) for norm in norms])
    panel.invert_yaxis()
    panel.margins(y=0.01)
    panel.set_xlabel("GB/s of the arrays that must move")
    panel.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    labelled = dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    figure.legend(
        labelled.values(),
        labelled.keys(),
        title="Throughput of norms",
        title_fontsize=13,
        loc="outside upper center",
        ncols=len(labelled),
        frameon=False,
    )
    figure.supxlabel(machine_line(results.machine), fontsize=7, color="#555555", wrap=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_norm(panel: Axes, results: Results, norm: dict[str, str], position: int) -> None:
    rows = {row.candidate: throughput(row) for row in results.select(measure="norm", **norm)}
    for i, (label, candidates, colour) in enumerate(BARS):
        speeds = [rows[name] for name in candidates if name in rows]
        if speeds:
            panel.barh(position + (i - 1) * HEIGHT, max(speeds), HEIGHT, color=colour, label=label)
    if "bound" in rows:
        top, bottom = position - 1.7 * HEIGHT, position + 1.7 * HEIGHT
        panel.plot([rows["bound"]] * 2, [top, bottom], color="black", linewidth=1.8, label="memory bound")


def _label(norm: dict[str, str]) -> str:
    storage = "" if norm["storage"] == "float32" else f", {norm['storage']}"
    return f"{norm['case']}\n{norm['shape']}{storage}"
