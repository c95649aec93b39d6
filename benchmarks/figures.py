"""The figures that this project promises, required and measured, computed from one run's results.

``python -m benchmarks.figures results/benchmarks.csv`` prints them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from benchmarks.around import AROUND_FIGURES
from benchmarks.figure import Figure
from benchmarks.grid import Grid
from benchmarks.models.figures import MODEL_FIGURES
from benchmarks.norms.figures import NORM_FIGURES
from benchmarks.processes import PROCESS_FIGURES
from benchmarks.random.figures import RANDOM_FIGURES
from benchmarks.results import Results, read_csv
from benchmarks.rules import RULE_FIGURES
from benchmarks.scaling.estimators import ESTIMATOR_FIGURES
from benchmarks.scaling.figures import SCALING_FIGURES
from benchmarks.updates.figures import UPDATE_FIGURES

FIGURES = [
    *UPDATE_FIGURES,
    *RULE_FIGURES,
    *PROCESS_FIGURES,
    *MODEL_FIGURES,
    *NORM_FIGURES,
    *SCALING_FIGURES,
    *ESTIMATOR_FIGURES,
    *RANDOM_FIGURES,
    *AROUND_FIGURES,
]

#: The labels of the few that the README shows.
HIGHLIGHTS = (
    "Adam, 1e7 elements, over naive NumPy",
    "Adam, 1e3 elements, over PyTorch fused",
    "AdamW, 2000 x 64, over PyTorch fused",
    "Batch norm forward, NCHW 32x64x56x56, over PyTorch's best",
    "StandardScaler's fit, 1e6 x 64, over scikit-learn's",
)


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def figures_grid(results: Results) -> Grid:
    """Return the figures that these results determine."""
    return asked_and_measured(FIGURES, results)


def highlights_grid(results: Results) -> Grid:
    """Return the figures of the README that these results can tell."""
    grid = Grid("Highlights", ("figure", "measured"))
    chosen = [figure for figure in FIGURES if figure.label in HIGHLIGHTS]
    grid.rows = [(label, measured) for label, _, measured, _ in asked_and_measured(chosen, results).rows]
    return grid


def asked_and_measured(figures: Iterable[Figure], results: Results, unmeasured: bool = False) -> Grid:
    """Return a row for each figure that these results determine and, if requested, empty rows for the others."""
    grid = Grid("Figures", ("figure", "asked", "measured", ""))
    for figure in figures:
        value = figure.measured(results)
        if value is not None:
            measured = f"{_digits(value)} {figure.unit}".rstrip()
            grid.rows.append((figure.label, figure.asked, measured, figure.verdict(value)))
        elif unmeasured:
            grid.rows.append((figure.label, figure.asked, "", ""))
    return grid


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the promised figures, required and measured.")
    parser.add_argument("csv", type=Path)
    Console().print(figures_grid(read_csv(parser.parse_args().csv)).for_terminal())
