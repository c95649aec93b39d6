"""PyTorch's steps of a model, and fastopt's optimizers for PyTorch."""

from __future__ import annotations

import numpy as np
import torch

import fastopt.torch
from benchmarks.candidates import Candidate, Step
from benchmarks.models.candidates import MAX_NORM, clipped
from benchmarks.models.workload import ListWorkload
from benchmarks.updates.peers import peers_of as steps_of_torch
from benchmarks.updates.workload import STEP
from benchmarks.workload import Arrays


def _tensors(workload: ListWorkload, arrays: Arrays) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Return the parameters with their gradients, and the state of each."""
    params, states = [], []
    for each in workload.tensors(arrays):
        tensors = {name: torch.as_tensor(array) for name, array in each.items()}
        param = tensors["param"].requires_grad_()
        param.grad = tensors["grad"]
        params.append(param)
        states.append({"step": torch.tensor(float(STEP - 1)), "exp_avg": tensors["m"], "exp_avg_sq": tensors["v"]})
    return params, states


def _optimizer(
    kind: type[torch.optim.Optimizer], workload: ListWorkload, arrays: Arrays, threads: int, **options: bool
):
    torch.set_num_threads(threads)
    params, states = _tensors(workload, arrays)
    optimizer = kind(params, **options)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": dict(enumerate(states))})
    for param, state in zip(params, states, strict=True):  # not copies, which PyTorch would make
        optimizer.state[param].update(exp_avg=state["exp_avg"], exp_avg_sq=state["exp_avg_sq"])
    return optimizer, params


def _drop_in(workload: ListWorkload, arrays: Arrays, threads: int) -> Step:
    return _optimizer(fastopt.torch.AdamW, workload, arrays, threads)[0].step


def _clipping(workload: ListWorkload, arrays: Arrays, threads: int) -> Step:
    """Clip, test whether the norm is finite, and step."""
    optimizer, params = _optimizer(torch.optim.AdamW, workload, arrays, threads, fused=True)

    def step() -> None:
        if torch.nn.utils.clip_grad_norm_(params, MAX_NORM).isfinite():
            optimizer.step()

    return step


def _clipped_in_place(workload: ListWorkload, arrays: Arrays) -> Arrays:
    expected = clipped(workload, arrays)
    norm = float(((arrays["grad"].astype("float64") ** 2).sum()) ** 0.5)
    return {**expected, "grad": arrays["grad"] * (MAX_NORM / norm)}


def _offloaded(workload: ListWorkload, arrays: Arrays, threads: int) -> Step:
    """As in offloaded training: widen gradients, update float32 masters, and round them into the parameters."""
    torch.set_num_threads(threads)
    tensors = workload.tensors(arrays)
    params, grads = ([_bfloat16(each[name]) for each in tensors] for name in ("param", "grad"))
    masters = [param.float() for param in params]
    for master in masters:
        master.grad = torch.empty_like(master)
    optimizer = torch.optim.AdamW(masters, fused=True)
    for master, each in zip(masters, tensors, strict=True):
        state = {"exp_avg": torch.as_tensor(each["m"]), "exp_avg_sq": torch.as_tensor(each["v"])}
        optimizer.state[master] = {"step": torch.tensor(float(STEP - 1)), **state}

    def step() -> None:
        torch._foreach_copy_([master.grad for master in masters], grads)
        optimizer.step()
        torch._foreach_copy_(params, masters)

    return step


def _bfloat16(array: np.ndarray) -> torch.Tensor:
    """Return a tensor over the same memory; PyTorch does not support NumPy's bfloat16."""
    return torch.as_tensor(array.view(np.int16)).view(torch.bfloat16)


OFFLOADED = Candidate("torch fused", _offloaded)
DROP_IN = Candidate("fastopt.torch", _drop_in)
CLIPPING = Candidate("torch fused", _clipping, expected=_clipped_in_place)


def peers_of(workload: ListWorkload) -> list[Candidate]:
    """Return PyTorch's implementations of a model's step, and fastopt's optimizer for PyTorch."""
    return [DROP_IN, *steps_of_torch(workload)]
