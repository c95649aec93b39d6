"""PyTorch on a device: the same peers as on the host, and the functions behind its fused optimizer."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.candidates import Candidate, Step
from benchmarks.norms import peers as norms
from benchmarks.random import peers as random
from benchmarks.random.workload import RandomWorkload
from benchmarks.scaling import peers as scaling
from benchmarks.scaling.workload import ScalingWorkload
from benchmarks.updates import peers as updates
from benchmarks.updates.workload import STEP, UpdateWorkload
from benchmarks.workload import Arrays
from tests.reference import hyperparameters


def _functional(workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
    """Call the fused kernel's function directly, without the optimizer's overhead."""
    h = hyperparameters(workload.case, STEP)
    tensors = workload.tensors(arrays)
    lists = [[tensor[name] for tensor in tensors] for name in ("param", "grad", "m", "v")]
    steps = [torch.full((), float(STEP), device=param.device) for param in lists[0]]
    same = {name: h[name] for name in ("lr", "beta1", "beta2", "weight_decay", "eps")}
    return partial(torch._fused_adamw_, *lists, [], steps, **same, amsgrad=False, maximize=False)


def peers_of(workload: Any) -> list[Candidate]:
    """Return PyTorch's implementations of the workload, except loops over tensors."""
    if isinstance(workload, RandomWorkload):
        return random.peers_of(workload)
    if isinstance(workload, ScalingWorkload):
        return [scaling.TORCH]
    if not isinstance(workload, UpdateWorkload):
        return norms.peers_of(workload)
    candidates = [peer for peer in updates.peers_of(workload) if peer.name != "torch for-loop"]
    if hasattr(torch, "_fused_adamw_"):
        candidates.append(Candidate("torch functional", _functional))
    return candidates
