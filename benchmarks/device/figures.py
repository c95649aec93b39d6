"""Promised figures of updates and norms on a device."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.device.measure import CALL, LAUNCHES, NORM, UPDATE
from benchmarks.device.plan import CALLED, LIST, NORMS
from benchmarks.figure import Figure, once, over, ratio
from benchmarks.results import Results

#: PyTorch's fused kernel, called by its optimizer and directly
FUSED = ("torch fused", "torch functional")

LARGEST = 100_000_000

#: PyTorch's batch norm on a device; the fused one has three calls.
CUDNN = "torch module"

#: Figures of batch norm, by whether add and relu are fused, and by direction
OVER_CUDNN = {(False, "forward"): 1.0, (False, "backward"): 1.0, (True, "forward"): 1.5}


def _over(*rivals: str, **columns: object) -> Callable[[Results], float | None]:
    return lambda results: over(results, *rivals, own="fastopt", **columns)


def _update(elements: int, *rivals: str) -> Callable[[Results], float | None]:
    return _over(*rivals, measure=UPDATE, case="adamw", elements=elements)


def _call_over(rival: str) -> Callable[[Results], float | None]:
    def compared(results: Results) -> float | None:
        own, other = (results.median(name, CALL, elements=CALLED.elements) for name in ("fastopt", rival))
        return ratio(own, other)

    return compared


def _norm(fused: bool, direction: str, limit: float) -> Figure:
    (norm,) = (norm for norm in NORMS if (norm.fused, norm.direction) == (fused, direction))
    label = f"Batch norm{' + add + relu' if fused else ''} {direction}, {norm.shape}"
    rival = "PyTorch's three calls" if fused else "cuDNN"
    measured = _over(CUDNN, measure=NORM, case=norm.name, shape=norm.shape)
    return Figure(f"{label}, over {rival}", measured, ">=", limit)


DEVICE_FIGURES = [
    Figure("AdamW, 1e8 elements, throughput over a copy of as many bytes", _update(LARGEST, "copy"), ">=", 0.92),
    Figure("AdamW, 1e8 elements, over PyTorch fused", _update(LARGEST, *FUSED), ">=", 1.0),
    Figure(
        "AdamW, the 161 tensors of ResNet-50, launches of a call",
        once("fastopt", LAUNCHES, 1, elements=LIST.elements), "<=", 1, "",
    ),
    Figure(
        "AdamW, the 161 tensors of ResNet-50, throughput over a copy of as many bytes", _update(LIST.elements, "copy")
    ),
    Figure("AdamW, the 161 tensors of ResNet-50, over PyTorch fused", _update(LIST.elements, *FUSED), ">=", 1.0),
    Figure("AdamW, 1e3 elements, host time of a call over PyTorch fused", _call_over("torch fused"), "<=", 1.0),
    Figure("AdamW, 1e3 elements, host time of a call over PyTorch functional", _call_over("torch functional")),
    *(_norm(*which, limit) for which, limit in OVER_CUDNN.items()),
]  # fmt: skip
