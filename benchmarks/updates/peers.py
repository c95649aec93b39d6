"""PyTorch's optimizers, on the same memory as fastopt's updates."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch

from benchmarks.candidates import Candidate, Step
from benchmarks.updates.workload import STEP, UpdateWorkload
from benchmarks.workload import Arrays


@dataclass(frozen=True)
class Peer:
    """The PyTorch optimizer for a case's update."""

    optimizer: type[torch.optim.Optimizer]
    #: PyTorch's name for each state array of the case
    state: dict[str, str] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    fused: bool = False


ADAM = {"m": "exp_avg", "v": "exp_avg_sq"}
MOMENTUM = {"velocity": "momentum_buffer"}
WD = {"weight_decay": 0.01}

#: By the name of the case. Other hyperparameters have the same defaults on both sides, as `verify` shows.
PEERS = {
    "sgd": Peer(torch.optim.SGD, {}, {"lr": 0.1}, fused=True),
    "momentum": Peer(torch.optim.SGD, MOMENTUM, {"lr": 0.1, "momentum": 0.9, **WD}, fused=True),
    "momentum-nesterov": Peer(
        torch.optim.SGD, MOMENTUM, {"lr": 0.1, "momentum": 0.9, "nesterov": True, **WD}, fused=True
    ),
    "asgd": Peer(torch.optim.ASGD, {"average": "ax"}, {"t0": 2, **WD}),
    "rprop": Peer(torch.optim.Rprop, {"prev_grad": "prev", "step_size": "step_size"}),
    "adagrad": Peer(torch.optim.Adagrad, {"square_sum": "sum"}, {"lr_decay": 0.01, **WD}, fused=True),
    "rmsprop": Peer(torch.optim.RMSprop, {"square_avg": "square_avg"}, WD),
    "rmsprop-centered": Peer(
        torch.optim.RMSprop,
        {"square_avg": "square_avg", "grad_avg": "grad_avg"},
        {"centered": True, "eps": 1e-2, **WD},
    ),
    "rmsprop-momentum": Peer(
        torch.optim.RMSprop, {"square_avg": "square_avg", **MOMENTUM}, {"momentum": 0.9, **WD}
    ),
    "rmsprop-centered-momentum": Peer(
        torch.optim.RMSprop,
        {"square_avg": "square_avg", "grad_avg": "grad_avg", **MOMENTUM},
        {"centered": True, "eps": 1e-2, "momentum": 0.9, **WD},
    ),
    "adadelta": Peer(torch.optim.Adadelta, {"square_avg": "square_avg", "delta_avg": "acc_delta"}, WD),
    "adam": Peer(torch.optim.Adam, ADAM, fused=True),
    "adam-amsgrad": Peer(
        torch.optim.Adam, {**ADAM, "v_max": "max_exp_avg_sq"}, {"amsgrad": True, **WD}, fused=True
    ),
    "adamw": Peer(torch.optim.AdamW, ADAM, fused=True),
    "adamax": Peer(torch.optim.Adamax, {"m": "exp_avg", "u": "exp_inf"}, WD),
    "nadam": Peer(torch.optim.NAdam, ADAM, WD),
    "radam": Peer(torch.optim.RAdam, ADAM, WD),
}  # fmt: skip

#: PyTorch's three implementations of a step, as options of its constructors
MODES = {"fused": {"fused": True}, "foreach": {"foreach": True}, "for-loop": {"foreach": False}}


def _make(mode: str, workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
    torch.set_num_threads(threads)
    peer = PEERS[workload.case.name]
    tensors = [{name: torch.as_tensor(a) for name, a in each.items()} for each in workload.tensors(arrays)]
    optimizer = deepcopy(_before_the_step(mode, workload.case.name, len(tensors), tensors[0]["param"].device))
    params = [param for group in optimizer.param_groups for param in group["params"]]
    for param, given in zip(params, tensors, strict=True):
        param.data, param.grad = given["param"], given["grad"]
        for ours, theirs in peer.state.items():
            optimizer.state[param][theirs] = given[ours]
    return optimizer.step


@cache
def _before_the_step(mode: str, case: str, tensors: int, device: torch.device) -> torch.optim.Optimizer:
    """Return an optimizer of parameters with one element, with the measured step as its next one.

    It has created its own state (step count, products, averages), and is then given the large arrays.
    """
    peer = PEERS[case]
    params = [torch.zeros(1, device=device) for _ in range(tensors)]
    optimizer = peer.optimizer(params, **peer.hyperparameters, **MODES[mode])
    for _ in range(STEP - 1):
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.step()
    for param in params:
        param.grad = None
    return optimizer


def peers_of(workload: UpdateWorkload) -> list[Candidate]:
    """Return PyTorch's implementations of the workload's update."""
    peer = PEERS.get(workload.case.name)
    if peer is None or workload.storage != "float32":
        return []
    modes = [mode for mode in MODES if peer.fused or mode != "fused"]
    return [Candidate(f"torch {mode}", partial(_make, mode)) for mode in modes]
