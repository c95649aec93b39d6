"""PyTorch's random numbers, on the very memory that fastopt works on.

"torch op" is the operator: ``native_dropout`` forward, and backward with the mask that forward kept. "torch module" is
what users write: ``torch.nn.functional.dropout``. Both allocate their result.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.candidates import Candidate, Step
from benchmarks.random.candidates import moments_of
from benchmarks.random.workload import P, RandomWorkload
from benchmarks.workload import Arrays


def _operator(workload: RandomWorkload, arrays: Arrays, threads: int) -> Step:
    torch.set_num_threads(threads)
    if workload.fills:
        out = torch.from_numpy(arrays["y"])
        return out.normal_ if workload.name == "normal" else out.uniform_
    x = torch.from_numpy(arrays["x"])
    if workload.name == "dropout backward":
        mask = torch.native_dropout(torch.ones_like(x), P, True)[1]
        return partial(torch.ops.aten.native_dropout_backward, x, mask, 1 / (1 - P))
    return lambda: torch.native_dropout(x, P, True)[0]


def _module(workload: RandomWorkload, arrays: Arrays, threads: int) -> Step:
    torch.set_num_threads(threads)
    return partial(torch.nn.functional.dropout, torch.from_numpy(arrays["x"]), P)


def peers_of(workload: RandomWorkload) -> list[Candidate]:
    """Return PyTorch's ways to do it."""
    verified = {"expected": RandomWorkload.expected_moments, "results": moments_of}
    operator = Candidate("torch op", _operator, **verified)
    module = Candidate("torch module", _module, **verified)
    return [operator, module] if workload.name == "dropout forward" else [operator]
