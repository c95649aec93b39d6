"""Plots of the results: ``python -m benchmarks.plot results/benchmarks.csv docs``."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.norms.plot import draw_norms
from benchmarks.results import Results, read_csv
from benchmarks.updates.plot import draw_updates


def draw(results: Results, folder: Path) -> list[Path]:
    """Save a plot for each measured family; return the files."""
    drawn = []
    if results.cases():
        drawn.append(folder / "throughput.png")
        draw_updates(results, drawn[-1])
    if results.norms():
        drawn.append(folder / "norms.png")
        draw_norms(results, drawn[-1])
    return drawn


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the throughput of updates and norms from a CSV file of results.")
    parser.add_argument("csv", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    for drawn in draw(read_csv(options.csv), options.folder):
        print(f"wrote {drawn}")
