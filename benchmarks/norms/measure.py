"""Measures norms with the shapes of networks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from benchmarks.candidates import Candidate
from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.norms.candidates import CYTHON, NAIVE, NUMBA
from benchmarks.norms.traffic import BOUND
from benchmarks.norms.workload import NormWorkload
from benchmarks.results import Result

IMAGES, LARGE_IMAGES = (32, 64, 56, 56), (64, 64, 112, 112)

FORWARD_BACKWARD = ("forward", "backward")

#: All rows of the table. bfloat16 requires an optional package.
NORM_WORKLOADS = [
    *(NormWorkload("batch", direction, "NCHW", IMAGES) for direction in (*FORWARD_BACKWARD, "inference")),
    *(NormWorkload("batch", direction, "NCHW", IMAGES, fused=True) for direction in FORWARD_BACKWARD),
    *(NormWorkload("batch", direction, "NCHW", LARGE_IMAGES) for direction in FORWARD_BACKWARD),
    *(NormWorkload("batch", direction, "NCHW", (32, 128, 28, 28)) for direction in FORWARD_BACKWARD),
    *(NormWorkload("batch", direction, "NCHW", (32, 256, 14, 14)) for direction in FORWARD_BACKWARD),
    *(NormWorkload("batch", direction, "NHWC", (32, 56, 56, 64)) for direction in FORWARD_BACKWARD),
    *(NormWorkload("batch", direction, "NC", (1024, 512)) for direction in FORWARD_BACKWARD),
    *(NormWorkload("batch", direction, "NC", (256, 64)) for direction in FORWARD_BACKWARD),
    *(NormWorkload("batch", direction, "NC", (32, 1000)) for direction in FORWARD_BACKWARD),
    *(NormWorkload("batch", direction, "NC", (16, 4096)) for direction in FORWARD_BACKWARD),
    *(NormWorkload("layer", direction, "NC", (4096, 1024)) for direction in FORWARD_BACKWARD),
    *(NormWorkload("instance", direction, "NCHW", IMAGES) for direction in FORWARD_BACKWARD),
    *(NormWorkload("group", direction, "NCHW", IMAGES, groups=32) for direction in FORWARD_BACKWARD),
    *(
        NormWorkload("batch", direction, "NCHW", IMAGES, storage="bfloat16")
        for direction in FORWARD_BACKWARD
        if find_spec("ml_dtypes")
    ),
]  # fmt: skip


#: Also measured with cheaper allocations for PyTorch
ALLOCATED_BY_TORCH = [norm for norm in NORM_WORKLOADS if norm.sizes == LARGE_IMAGES and norm.direction == "backward"]


def candidates_for(workload: NormWorkload, peers: bool) -> list[Candidate]:
    """Return the candidates: fastopt's backends, NumPy in float32, the bound, and PyTorch if requested."""
    candidates = [CYTHON, NUMBA, BOUND]
    if workload.storage == "float32":
        candidates.append(NAIVE)
    if peers:
        from benchmarks.norms.peers import peers_of  # imported late: PyTorch is optional

        candidates += peers_of(workload)
    return candidates


def measure_norm(workload: NormWorkload, effort: Effort, peers: bool, threads: int) -> Iterator[Result]:
    """Time every candidate on the same arrays."""
    yield from compete("norm", {workload: candidates_for(workload, peers)}, effort, threads)
