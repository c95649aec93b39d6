"""Measures steps of models: the update alone, and with clipping and a look for what is not finite."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.models import candidates
from benchmarks.models.workload import ListWorkload
from benchmarks.results import Result

MODEL, CLIPPED = "model", "model, clipped"


def measure_model(workload: ListWorkload, effort: Effort, peers: bool, threads: int) -> Iterator[Result]:
    """Time every candidate on arrays of the same values."""
    steps = [candidates.OPTIMIZER, candidates.FLAT, candidates.NAIVE]
    clipping = [candidates.CLIPPING]
    if peers:
        from benchmarks.models import peers as torch  # only here: PyTorch is optional

        steps += torch.peers_of(workload)
        clipping.append(torch.CLIPPING)
    yield from compete(MODEL, {workload: steps}, effort, threads)
    yield from compete(CLIPPED, {workload: clipping}, effort, threads)
