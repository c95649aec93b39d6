"""Promised figures of norms."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import Figure, once, over
from benchmarks.results import Results

TORCH = ("torch out", "torch op", "torch module")

IMAGES, LARGE_IMAGES, CHANNELS_LAST = "NCHW 32x64x56x56", "NCHW 64x64x112x112", "NHWC 32x56x56x64"

#: Required speedup over PyTorch's best, by case and shape
OVER_TORCH = {
    ("batch-norm forward", IMAGES): 3.5,
    ("batch-norm forward", LARGE_IMAGES): 3.5,
    ("batch-norm forward", CHANNELS_LAST): 1.5,
    ("batch-norm forward", "NC 1024x512"): 1.2,
    ("batch-norm forward", "NC 256x64"): 2,
    ("batch-norm + add + relu forward", IMAGES): 4,
    ("batch-norm inference", IMAGES): 1.2,
    ("batch-norm backward", IMAGES): 1.4,
    ("batch-norm backward", LARGE_IMAGES): 2,
    ("batch-norm backward", CHANNELS_LAST): 1.2,
    ("batch-norm backward", "NC 1024x512"): 1.2,
    ("batch-norm backward", "NC 256x64"): 2,
    ("layer-norm forward", "NC 4096x1024"): 1.1,
    ("layer-norm backward", "NC 4096x1024"): 1.1,
}

#: A call that consists of overhead
SMALL = "NC 8x16"


def _over(case: str, shape: str, *rivals: str, measure: str = "norm") -> Callable[[Results], float | None]:
    return lambda results: over(results, *rivals, measure=measure, case=case, shape=shape, storage="float32")


def _label(case: str, shape: str) -> str:
    return f"{case[0].upper()}{case[1:].replace('-', ' ', 1)}, {shape}"


NORM_FIGURES = [
    Figure(
        f"Batch norm forward, {LARGE_IMAGES}, throughput over the same-traffic bound",
        _over("batch-norm forward", LARGE_IMAGES, "bound"), ">=", 0.85,
    ),
    *(
        Figure(f"{_label(*norm)}, over PyTorch's best", _over(*norm, *TORCH), ">=", limit)
        for norm, limit in OVER_TORCH.items()
    ),
    Figure(
        f"Batch norm backward, {LARGE_IMAGES}, over PyTorch's best where malloc keeps memory",
        _over("batch-norm backward", LARGE_IMAGES, *TORCH, measure="norm, memory kept"),
    ),
    Figure(
        "Batch norm forward, (8, 16), one call",
        once("cython", "call", 1e6, case="batch-norm forward", shape=SMALL), "<=", 4, "us",
    ),
]  # fmt: skip
