"""PyTorch's random numbers, on the same memory as fastopt's, on the host or a device.

"torch op" is the operator: ``native_dropout`` forward, and its backward pass with the mask of the forward pass. "torch
module" is what users write: ``torch.nn.functional.dropout``. Both allocate their result.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from benchmarks.candidates import Candidate, Step
from benchmarks.random.candidates import moments_of
from benchmarks.random.workload import P, RandomWorkload
from benchmarks.workload import Arrays


def _operator(workload: RandomWorkload, arrays: Arrays, threads: int) -> Step:
    torch.set_num_threads(threads)
    if workload.fills:
        out = torch.as_tensor(arrays["y"])
        return out.normal_ if workload.name == "normal" else out.uniform_
    x = torch.as_tensor(arrays["x"])
    if workload.name == "dropout backward":
        mask = torch.native_dropout(torch.ones_like(x), P, True)[1]
        return partial(torch.ops.aten.native_dropout_backward, x, mask, 1 / (1 - P))
    return lambda: torch.native_dropout(x, P, True)[0]


def _module(workload: RandomWorkload, arrays: Arrays, threads: int) -> Step:
    torch.set_num_threads(threads)
    return partial(torch.nn.functional.dropout, torch.as_tensor(arrays["x"]), P)


def _results(workload: RandomWorkload, arrays: Arrays, returned: torch.Tensor) -> Arrays:
    """Return the verified quantities in the arrays' own kind: NumPy arrays or tensors."""
    on_host: dict[str, np.ndarray] = {name: torch.as_tensor(array).cpu().numpy() for name, array in arrays.items()}
    moments = moments_of(workload, on_host, returned.cpu())
    are_tensors = isinstance(arrays["y"], torch.Tensor)
    return {name: torch.from_numpy(array) if are_tensors else array for name, array in moments.items()}


def peers_of(workload: RandomWorkload) -> list[Candidate]:
    """Return PyTorch's implementations."""
    verified = {"expected": RandomWorkload.expected_moments, "results": _results}
    operator = Candidate("torch op", _operator, **verified)
    module = Candidate("torch module", _module, **verified)
    return [operator, module] if workload.name == "dropout forward" else [operator]
