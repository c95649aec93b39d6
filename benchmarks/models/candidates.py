"""Candidates for a model's step: fastopt's optimizer, one flat array of the same size, NumPy tensor by tensor."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.candidates import Candidate, Step
from benchmarks.models.workload import ListWorkload
from benchmarks.updates.candidates import CYTHON
from benchmarks.updates.workload import STEP
from benchmarks.workload import Arrays
from fastopt.optim import AdamW, Optimizer
from fastopt.specs.updates import UPDATES
from tests.reference import hyperparameters

#: Smaller than the norm of any model's gradients, so that clipping takes effect
MAX_NORM = 1.0


def _optimizer(workload: ListWorkload, arrays: Arrays, threads: int) -> tuple[Optimizer, list[np.ndarray]]:
    """Return the optimizer with the state of a started training, and the gradients."""
    tensors = workload.tensors(arrays)
    params = [tensor["param"] for tensor in tensors]
    optimizer = AdamW(params, master_weights=workload.storage != "float32", num_threads=threads)
    for state, tensor in zip(optimizer.state, tensors, strict=True):
        for name in workload.case.state:
            state[name][...] = tensor[name]
    optimizer.steps[...] = STEP - 1
    return optimizer, [tensor["grad"] for tensor in tensors]


def _step(options: dict[str, Any], workload: ListWorkload, arrays: Arrays, threads: int) -> Step:
    optimizer, grads = _optimizer(workload, arrays, threads)

    def step() -> Optimizer:
        optimizer.step(grads, **options)
        return optimizer

    return step


def _results(workload: ListWorkload, arrays: Arrays, optimizer: Optimizer) -> Arrays:
    """Return the arrays, with the optimizer's current state."""
    own = {name: np.concatenate([state[name].ravel() for state in optimizer.state]) for name in workload.case.state}
    return {**arrays, **own}


def _naive(workload: ListWorkload, arrays: Arrays, threads: int) -> Step:
    formula = UPDATES[workload.case.update.__name__].reference
    numbers = hyperparameters(workload.case, STEP)
    steps = [partial(formula, **tensor, **numbers) for tensor in workload.tensors(arrays)]

    def step() -> None:
        for each in steps:
            each()

    return step


def clipped(workload: ListWorkload, arrays: Arrays) -> Arrays:
    """Return the expected result of a step with gradients scaled to a norm of MAX_NORM."""
    norm = np.sqrt(np.sum(np.square(arrays["grad"].astype(np.float64))))
    return workload.expected({**arrays, "grad": arrays["grad"] * np.float32(MAX_NORM / norm)}) | {
        "grad": arrays["grad"]
    }


OPTIMIZER = Candidate("cython", partial(_step, {}), results=_results)
CLIPPING = Candidate(
    "cython", partial(_step, {"max_norm": MAX_NORM, "skip_nonfinite": True}), expected=clipped, results=_results
)
FLAT = Candidate("flat", CYTHON.make)
NAIVE = Candidate("naive", _naive)
