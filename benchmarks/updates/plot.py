"""Throughput of updates against size, as small multiples."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.machine import machine_line
from benchmarks.report import throughput
from benchmarks.results import Results
from benchmarks.updates.figures import TORCH

#: The plotted updates, if measured: one optimizer for each kind of traffic and arithmetic
SHOWN = ("sgd", "momentum", "lion", "adagrad", "rmsprop", "adam", "nadam", "radam", "adan")

#: The lines of a panel: a label, the candidates (the fastest counts), and the style.
LINES = [
    ("memory bound", ("bound",), {"color": "black", "linestyle": (0, (1, 1.2)), "linewidth": 1.8}),
    ("fastopt, cython", ("cython",), {"color": "#0b5fa5", "marker": "o", "linewidth": 2.2, "markersize": 4.5}),
    ("fastopt, numba", ("numba",), {"color": "#57b4e8", "marker": "s", "linewidth": 1.2, "markersize": 3}),
    ("PyTorch, fastest mode", TORCH, {"color": "#d9541e", "marker": "^", "linewidth": 1.5, "markersize": 4}),
    ("naive NumPy", ("naive",), {"color": "#8a8a8a", "marker": "v", "linewidth": 1.5, "markersize": 4}),
]


def draw_updates(results: Results, path: Path) -> None:
    """Save small multiples, one for each optimizer."""
    cases = [case for case in SHOWN if case in results.cases()] or results.cases()[: len(SHOWN)]
    columns = min(3, len(cases))
    rows = -(-len(cases) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(1.2 + 3.4 * columns, 1.5 + 2.4 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for panel in axes.flat[len(cases) :]:
        panel.set_axis_off()
    for i, (panel, case) in enumerate(zip(axes.flat, cases, strict=False)):
        _draw_case(panel, results, case)
        if i + columns >= len(cases):  # no panel below
            panel.set_xlabel("elements")
            panel.tick_params(labelbottom=True)
    for panel in axes[:, 0]:
        panel.set_ylabel("GB/s")
    drawn = {label: line for panel in axes.flat for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    labels = [label for label, _, _ in LINES if label in drawn]
    figure.legend(
        [drawn[label] for label in labels],
        labels,
        title="Throughput of in-place updates in float32",
        title_fontsize=13,
        loc="outside upper center",
        ncols=min(5, 2 * columns),
        frameon=False,
    )
    figure.supxlabel(machine_line(results.machine), fontsize=7, color="#555555", wrap=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_case(panel: Axes, results: Results, case: str) -> None:
    for label, candidates, style in LINES:
        points = []
        for elements in results.sizes():
            rows = results.select(measure="update", case=case, elements=elements)
            speeds = [throughput(row) for row in rows if row.candidate in candidates]
            if speeds:
                points.append((elements, max(speeds)))
        if points:
            panel.plot(*zip(*points, strict=True), label=label, **style)
    panel.set_title(case, fontsize=10)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(color="#e4e4e4", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
