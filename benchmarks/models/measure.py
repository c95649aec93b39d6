"""Measures steps of models: the update, the update with clipping and a check, and bfloat16 with masters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.models import candidates
from benchmarks.models.workload import ListWorkload
from benchmarks.results import Result

MODEL, CLIPPED, OFFLOADED = "model", "model, clipped", "model, offloaded"


def measure_model(workload: ListWorkload, effort: Effort, peers: bool, threads: int) -> Iterator[Result]:
    """Time every candidate on arrays with the same values."""
    steps = [candidates.OPTIMIZER, candidates.FLAT, candidates.NAIVE]
    clipping, offloaded = [candidates.CLIPPING], [candidates.OPTIMIZER]
    if peers:
        from benchmarks.models import peers as torch  # imported late: PyTorch is optional

        steps += torch.peers_of(workload)
        clipping.append(torch.CLIPPING)
        offloaded.append(torch.OFFLOADED)
    yield from compete(MODEL, {workload: steps}, effort, threads)
    yield from compete(CLIPPED, {workload: clipping}, effort, threads)
    if find_spec("ml_dtypes"):
        yield from compete(OFFLOADED, {replace(workload, storage="bfloat16"): offloaded}, effort, threads)
