"""Promised figures of updates."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import Figure, once, over, ratio
from benchmarks.results import Results

LARGEST = 50_000_000
TORCH = ("torch fused", "torch foreach", "torch for-loop")


def _over(case: str, elements: int, *rivals: str) -> Callable[[Results], float | None]:
    return lambda results: over(results, *rivals, measure="update", case=case, elements=elements)


def _bfloat16(results: Results) -> float | None:
    def time(storage: str) -> float | None:
        return results.median("cython", "storage", case="adam", storage=storage, elements=LARGEST)

    return ratio(time("bfloat16"), time("float32"))


def _numba_over_cython(results: Results) -> float | None:
    columns = {"measure": "update", "case": "adam", "elements": 1_000_000}
    return ratio(results.median("numba", **columns), results.median("cython", **columns))


def late_over_early(results: Results, candidate: str, case: str) -> float | None:
    """Return the slowdown of an update after 10,000 steps of zero gradient."""
    late = results.median(candidate, "zero gradient, late", case=case)
    return ratio(late, results.median(candidate, "zero gradient, early", case=case))


def _worst_zero_gradient(results: Results) -> float | None:
    cases = [row.case for row in results.select(measure="zero gradient, late", candidate="cython")]
    return max((late_over_early(results, "cython", case) or 0.0 for case in cases), default=None)


def _zero_gradient_of_torch(results: Results) -> float | None:
    return late_over_early(results, "torch fused", "adam")


UPDATE_FIGURES = [
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
    Figure("Adam, 4 elements, one call", once("cython", "call", 1e6, case="adam"), "<=", 1.5, "us"),
    Figure("import fastopt, after NumPy", once("fastopt", "import", 1e3), "<=", 40, "ms"),
    Figure("First update of a process", once("cython", "first update", 1e3), "<=", 5, "ms"),
    Figure("Adam, 1e6 elements, time of backend numba over cython", _numba_over_cython, "<=", 1.1),
    Figure("10,000 zero gradients, last steps over first, worst of fastopt", _worst_zero_gradient, "<=", 1.2),
    Figure("10,000 zero gradients, last steps over first, PyTorch fused Adam", _zero_gradient_of_torch),
]
