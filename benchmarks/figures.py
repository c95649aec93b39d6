"""The figures that this project promises, computed from one run's results: asked and measured.

``python -m benchmarks.figures results/benchmarks.csv`` prints them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.grid import Grid
from benchmarks.results import Results, read_csv

LARGEST = 50_000_000
TORCH = ("torch fused", "torch foreach", "torch for-loop")


@dataclass(frozen=True)
class Figure:
    """One number, and what is asked of it: at least or at most a limit, or nothing."""

    label: str
    measured: Callable[[Results], float | None]
    sign: str = ""
    limit: float | None = None
    unit: str = "x"

    def verdict(self, value: float) -> str:
        """Return whether what is asked is met."""
        if self.limit is None:
            return ""
        return "met" if (value >= self.limit if self.sign == ">=" else value <= self.limit) else "missed"

    @property
    def asked(self) -> str:
        """Return what is asked as text."""
        return "" if self.limit is None else f"{self.sign} {self.limit:g} {self.unit}"


def ratio(slower: float | None, faster: float | None) -> float | None:
    """Return how many times faster the second is."""
    return None if slower is None or faster is None else slower / faster


def over(results: Results, case: str, elements: int, *rivals: str) -> float | None:
    """Return how many times faster fastopt is than the best of the rivals."""
    columns = {"case": case, "elements": elements, "storage": "float32"}
    return ratio(results.best(*rivals, **columns), results.median("cython", **columns))


def _over(case: str, elements: int, *rivals: str) -> Callable[[Results], float | None]:
    return lambda results: over(results, case, elements, *rivals)


def _bfloat16(results: Results) -> float | None:
    def time(storage: str) -> float | None:
        return results.median("cython", "storage", case="adam", storage=storage, elements=LARGEST)

    return ratio(time("bfloat16"), time("float32"))


def _numba_over_cython(results: Results) -> float | None:
    columns = {"case": "adam", "elements": 1_000_000, "storage": "float32"}
    return ratio(results.median("numba", **columns), results.median("cython", **columns))


def _once(candidate: str, measure: str, scale: float) -> Callable[[Results], float | None]:
    def scaled(results: Results) -> float | None:
        seconds = results.median(candidate, measure)
        return None if seconds is None else scale * seconds

    return scaled


def late_over_early(results: Results, candidate: str, case: str) -> float | None:
    """Return how much slower an update is after 10,000 steps of zero gradient."""
    late = results.median(candidate, "zero gradient, late", case=case)
    return ratio(late, results.median(candidate, "zero gradient, early", case=case))


def _worst_zero_gradient(results: Results) -> float | None:
    cases = [row.case for row in results.select(measure="zero gradient, late", candidate="cython")]
    return max((late_over_early(results, "cython", case) or 0.0 for case in cases), default=None)


def _zero_gradient_of_torch(results: Results) -> float | None:
    return late_over_early(results, "torch fused", "adam")


FIGURES = [
    Figure("Adam, 5e7 elements, throughput over the same-traffic bound", _over("adam", LARGEST, "bound"), ">=", 0.95),
    Figure("Adam, 1e7 elements, over naive NumPy", _over("adam", 10_000_000, "naive"), ">=", 15),
    Figure("Adam, 1e3 elements, over PyTorch fused", _over("adam", 1_000, "torch fused"), ">=", 12),
    Figure("Adam, 1e5 elements, over PyTorch fused", _over("adam", 100_000, "torch fused"), ">=", 1.4),
    Figure("Adam, 1e6 elements, over PyTorch fused", _over("adam", 1_000_000, "torch fused"), ">=", 1.2),
    Figure("Adam, 1e7 elements, over PyTorch fused", _over("adam", 10_000_000, "torch fused"), ">=", 1.0),
    Figure("Adam, 5e7 elements, over PyTorch fused", _over("adam", LARGEST, "torch fused"), ">=", 1.0),
    Figure("RMSprop, 1e7 elements, over PyTorch's best", _over("rmsprop", 10_000_000, *TORCH), ">=", 2),
    Figure("NAdam, 1e7 elements, over PyTorch's best", _over("nadam", 10_000_000, *TORCH), ">=", 2),
    Figure("RAdam, 1e7 elements, over PyTorch's best", _over("radam", 10_000_000, *TORCH), ">=", 2),
    Figure("Adam, 5e7 elements, time with bfloat16 param and grad over all float32", _bfloat16, "<=", 1.0),
    Figure("Adam, 4 elements, one call", _once("cython", "call", 1e6), "<=", 1.5, "us"),
    Figure("import fastopt, after NumPy", _once("fastopt", "import", 1e3), "<=", 40, "ms"),
    Figure("First update of a process", _once("cython", "first update", 1e3), "<=", 5, "ms"),
    Figure("Adam, 1e6 elements, time of backend numba over cython", _numba_over_cython, "<=", 1.1),
    Figure("10,000 zero gradients, last steps over first, worst of fastopt", _worst_zero_gradient, "<=", 1.2),
    Figure("10,000 zero gradients, last steps over first, PyTorch fused Adam", _zero_gradient_of_torch),
]


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def figures_grid(results: Results) -> Grid:
    """Return the figures that these results can tell."""
    grid = Grid("Figures", ("figure", "asked", "measured", ""))
    for figure in FIGURES:
        value = figure.measured(results)
        if value is not None:
            grid.rows.append((figure.label, figure.asked, f"{_digits(value)} {figure.unit}", figure.verdict(value)))
    return grid


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the promised figures, asked and measured.")
    parser.add_argument("csv", type=Path)
    Console().print(figures_grid(read_csv(parser.parse_args().csv)).for_terminal())
