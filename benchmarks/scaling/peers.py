"""PyTorch's operators for feature scaling, on the same memory as fastopt's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from benchmarks.candidates import Candidate, Step
from benchmarks.scaling.workload import FIT, ScalingWorkload
from benchmarks.workload import Arrays

Pair = tuple[torch.Tensor, torch.Tensor]


def _mean_and_var(x: torch.Tensor) -> Pair:
    var, mean = torch.var_mean(x, 0, correction=0)
    return mean, var


def _min_and_max(x: torch.Tensor) -> Pair:
    low, high = torch.aminmax(x, dim=0)
    return low, high


def _largest(x: torch.Tensor) -> Pair:
    largest = torch.linalg.vector_norm(x, torch.inf, 0)
    return largest, largest


def _standardise(x: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> None:
    x.sub_(mean).div_(std)


def _to_range(x: torch.Tensor, low: torch.Tensor, width: torch.Tensor) -> None:
    x.sub_(low).div_(width)


def _by_largest(x: torch.Tensor, largest: torch.Tensor, _: torch.Tensor) -> None:
    x.div_(largest)


#: For each scaler: the statistics of x; the part of them that a transform takes; and the transform
WAYS: dict[str, tuple[Callable[[torch.Tensor], Pair], Callable[..., Pair], Callable[..., None]]] = {
    "StandardScaler": (_mean_and_var, lambda mean, var: (mean, var.sqrt()), _standardise),
    "MinMaxScaler": (_min_and_max, lambda low, high: (low, high - low), _to_range),
    "MaxAbsScaler": (_largest, lambda largest, same: (largest, same), _by_largest),
}


def _operators(workload: ScalingWorkload, arrays: Arrays, threads: int) -> Step:
    torch.set_num_threads(threads)
    x = torch.as_tensor(arrays["x"])
    fit, taken, transform = WAYS[workload.scaler]
    return partial(fit, x) if workload.action == FIT else partial(transform, x, *taken(*fit(x)))


def _results(workload: ScalingWorkload, arrays: Arrays, returned: Pair | None) -> Arrays:
    return arrays if returned is None else dict(zip(("first", "second"), returned, strict=True))


TORCH = Candidate("torch op", _operators, results=_results)
