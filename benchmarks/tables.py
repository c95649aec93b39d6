"""Writes tables of results into pages, between markers.

``python -m benchmarks.tables --csv results/benchmarks.csv --update README.md docs/benchmarks.md``, or a device's
``--csv results/cuda.csv --update docs/cuda.md``, replaces the text between ``<!-- benchmark:begin NAME -->`` and
``<!-- benchmark:end NAME -->``, where NAME is one of `GRIDS` or `TEXTS`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.around import around_grid
from benchmarks.device.report import (
    device_figures_grid,
    device_norms_grid,
    device_random_grid,
    device_scaling_grid,
    device_updates_grid,
)
from benchmarks.figures import figures_grid, highlights_grid
from benchmarks.grid import Grid
from benchmarks.machine import machine_line
from benchmarks.report import (
    calls_grid,
    models_grid,
    norms_grid,
    random_grid,
    storage_grid,
    updates_grid,
    zero_gradient_grid,
)
from benchmarks.results import Results, read_csv
from benchmarks.scaling.estimators import estimators_grid
from benchmarks.scaling.report import scaling_grid

#: All tables of results
GRIDS: dict[str, Callable[[Results], Grid]] = {
    "updates": updates_grid,
    "models": models_grid,
    "norms": norms_grid,
    "scaling": scaling_grid,
    "estimators": estimators_grid,
    "random": random_grid,
    "around": around_grid,
    "cuda-updates": device_updates_grid,
    "cuda-norms": device_norms_grid,
    "cuda-random": device_random_grid,
    "cuda-scaling": device_scaling_grid,
    "storage": storage_grid,
    "calls": calls_grid,
    "zero-gradient": zero_gradient_grid,
    "figures": figures_grid,
    "cuda-figures": device_figures_grid,
}

#: Other texts between markers, and tables with another form in pages than on a terminal
TEXTS: dict[str, Callable[[Results], str]] = {
    "machine": lambda results: f"{machine_line(results.machine)}.",
    "highlights": lambda results: highlights_grid(results).for_markdown(),
    "largest": lambda results: updates_grid(results, results.sizes()[-1:]).for_markdown(),
    "cuda-figures": lambda results: device_figures_grid(results, unmeasured=True).for_markdown(),
}

MARKED = re.compile(
    r"(?P<begin><!-- benchmark:begin (?P<name>\S+) -->\n).*?(?P<end><!-- benchmark:end (?P=name) -->)", re.S
)


def update(page: str, results: Results) -> str:
    """Return the page with all marked tables updated."""

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in {**GRIDS, **TEXTS}:
            raise ValueError(f"no table is named {name!r}; expected one of {', '.join({**GRIDS, **TEXTS})}")
        text = TEXTS[name](results) if name in TEXTS else GRIDS[name](results).for_markdown()
        return f"{match['begin']}\n{text}\n\n{match['end']}"

    updated, count = MARKED.subn(replaced, page)
    if count != page.count("<!-- benchmark:begin "):
        raise ValueError("a benchmark:begin marker has no benchmark:end with the same name")
    return updated


def main(arguments: list[str] | None = None) -> None:
    """Update the given pages."""
    parser = argparse.ArgumentParser("python -m benchmarks.tables", description="Write result tables into pages.")
    parser.add_argument("--csv", type=Path, default=Path("results/benchmarks.csv"), help="default: %(default)s")
    parser.add_argument("--update", type=Path, nargs="+", required=True, metavar="PAGE")
    options = parser.parse_args(arguments)
    results = read_csv(options.csv)
    for page in options.update:
        page.write_text(update(page.read_text(), results))
        print(f"updated {page}")


if __name__ == "__main__":
    main()
