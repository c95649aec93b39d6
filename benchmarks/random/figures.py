"""Promised figures of random numbers."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import Figure, over
from benchmarks.results import Results

TORCH = ("torch op", "torch module")


def _over(case: str, *rivals: str) -> Callable[[Results], float | None]:
    return lambda results: over(results, *rivals, measure="random", case=case, elements=10**7, storage="float32")


RANDOM_FIGURES = [
    Figure("Normal numbers, 1e7 elements, over NumPy's generator", _over("normal", "naive"), ">=", 3),
    Figure("Uniform numbers, 1e7 elements, over NumPy's generator", _over("uniform", "naive"), ">=", 3),
    Figure("Dropout forward, 1e7 elements, throughput over a copy's", _over("dropout forward", "bound")),
    Figure("Dropout backward, 1e7 elements, throughput over a copy's", _over("dropout backward", "bound")),
    Figure("Dropout forward, 1e7 elements, over PyTorch's best", _over("dropout forward", *TORCH), ">=", 2),
    Figure("Dropout forward, 1e7 elements, over naive NumPy", _over("dropout forward", "naive"), ">=", 5),
]
