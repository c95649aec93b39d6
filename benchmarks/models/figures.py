"""Promised figures of steps of whole models."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import Figure, once, over, ratio
from benchmarks.models.measure import CLIPPED, MODEL
from benchmarks.results import Results

RESNET, SMALL, POLICY = "ResNet-50", "2000 x 64", "RL policy"


def _over(shape: str, *rivals: str, measure: str = MODEL, own: str = "cython") -> Callable[[Results], float | None]:
    return lambda results: over(results, *rivals, own=own, measure=measure, shape=shape)


def _over_flat(shape: str) -> Callable[[Results], float | None]:
    return lambda results: ratio(
        results.median("cython", MODEL, shape=shape), results.median("flat", MODEL, shape=shape)
    )


MODEL_FIGURES = [
    Figure(f"AdamW, {SMALL}, over PyTorch fused", _over(SMALL, "torch fused"), ">=", 40),
    Figure(f"AdamW, {SMALL}, time over one flat array's", _over_flat(SMALL), "<=", 3),
    Figure(f"AdamW, {RESNET}, over PyTorch fused", _over(RESNET, "torch fused"), ">=", 1.1),
    Figure(f"AdamW, {RESNET}, time over one flat array's", _over_flat(RESNET), "<=", 1.05),
    Figure(f"AdamW, {POLICY}, one step", once("cython", MODEL, 1e6, shape=POLICY), "<=", 6, "us"),
    Figure(f"AdamW, {POLICY}, over PyTorch fused", _over(POLICY, "torch fused"), ">=", 10),
    Figure(
        f"AdamW, {RESNET}, clipped and looked through, over PyTorch's calls",
        _over(RESNET, "torch fused", measure=CLIPPED), ">=", 1.5,
    ),
    *(
        Figure(
            f"fastopt.torch.AdamW, {shape}, over PyTorch fused",
            _over(shape, "torch fused", own="fastopt.torch"), ">=", limit,
        )
        for shape, limit in ((RESNET, 1.1), (SMALL, 3))
    ),
]  # fmt: skip
