"""Candidates on a device, all on the same memory: fastopt, a copy, CuPy, and PyTorch (in `peers`)."""

from __future__ import annotations

from functools import cache, partial
from importlib.util import find_spec
from math import sqrt
from typing import Any

import numpy as np

from benchmarks.candidates import Candidate, Step
from benchmarks.device.device import Device
from benchmarks.models.workload import ListWorkload
from benchmarks.norms.candidates import call
from benchmarks.norms.workload import NormWorkload
from benchmarks.random.workload import RandomWorkload
from benchmarks.scaling.candidates import CUDA, CUDA_IGNORING
from benchmarks.scaling.workload import TRANSFORM, ScalingWorkload
from benchmarks.updates.workload import STEP, UpdateWorkload
from benchmarks.workload import Arrays
from fastopt.engine.update.run import run_many
from fastopt.updates.adam import ADAMW
from tests.reference import hyperparameters


def _update(workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
    return partial(workload.case.update, **arrays, **workload.hyperparameters())


def _list(workload: ListWorkload, arrays: Arrays, threads: int) -> Step:
    named = hyperparameters(workload.case, STEP)
    values = tuple(named[name] for name in ADAMW.hyperparameters)
    tensors = [tuple(tensor[name] for name in ("param", "grad", "m", "v")) for tensor in workload.tensors(arrays)]
    return partial(run_many, ADAMW.updates[()], tensors, values, None, None)


def _norm(workload: NormWorkload, arrays: Arrays, threads: int) -> Step:
    return partial(workload.function, **call(workload, arrays))


def _random(workload: RandomWorkload, arrays: Arrays, threads: int) -> Step:
    return workload.step(arrays, None, threads)


FASTOPT, FASTOPT_LIST, FASTOPT_NORM, FASTOPT_RANDOM = (
    Candidate("fastopt", make) for make in (_update, _list, _norm, _random)
)

#: By kind of work
OWN = {
    UpdateWorkload: FASTOPT, ListWorkload: FASTOPT_LIST, NormWorkload: FASTOPT_NORM, RandomWorkload: FASTOPT_RANDOM,
    ScalingWorkload: CUDA,
}  # fmt: skip


def copy_on(device: Device) -> Candidate:
    """Return the bound: the time of the device's own copy."""

    def make(workload: Any, arrays: Arrays, threads: int) -> Step:
        source, destination = (_address(arrays[name]) for name in ("source", "destination"))
        return partial(device.driver.copy, destination, source, workload.bytes // 2)

    return Candidate("copy", make)


def _address(array: Any) -> int:
    return array.__cuda_array_interface__["data"][0]


# ---- CuPy

#: AdamW as an elementwise kernel of CuPy
CUPY_ADAMW = """
m += gain1 * (grad - m);
v += gain2 * (grad * grad - v);
param = kept * param - step_size * m / (sqrt(v) * correction2 + eps);
"""


def _cupy(workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
    import cupy  # imported late: it is optional

    h = hyperparameters(workload.case, STEP)
    scalars = {
        "kept": 1 - h["lr"] * h["weight_decay"],
        "gain1": 1 - h["beta1"],
        "gain2": 1 - h["beta2"],
        "step_size": h["lr"] / (1 - h["beta1"] ** STEP),
        "correction2": 1 / sqrt(1 - h["beta2"] ** STEP),
        "eps": h["eps"],
    }
    inputs = ", ".join(f"T {name}" for name in ("grad", *scalars))
    kernel = _cupy_kernel(inputs, "T param, T m, T v", CUPY_ADAMW, "adamw")
    grad, param, m, v = (cupy.asarray(arrays[name]) for name in ("grad", "param", "m", "v"))
    return partial(kernel, grad, *map(np.float32, scalars.values()), param, m, v)


@cache
def _cupy_kernel(*arguments: str) -> Any:
    """Return a kernel, which is compiled once and shared by all sets of arrays."""
    import cupy

    return cupy.ElementwiseKernel(*arguments)


CUPY = Candidate("cupy", _cupy)


# ---- All candidates


def candidates_for(workload: Any, device: Device, peers: bool) -> list[Candidate]:
    """Return the candidates for a workload: fastopt and, if requested, the other available ones."""
    candidates = [OWN[type(workload)]]
    if isinstance(workload, ScalingWorkload) and workload.action == TRANSFORM:
        candidates.append(CUDA_IGNORING)  # does not synchronise
    others = device.library.shared_with if peers else ()
    if "torch" in others:
        from benchmarks.device.peers import peers_of  # imported late: PyTorch is optional

        candidates += peers_of(workload)
    if "cupy" in others and find_spec("cupy") and type(workload) is UpdateWorkload:  # it does not support lists
        candidates.append(CUPY)
    return candidates
