"""Parameters on CUDA devices: their checks, and the calls that update them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch

from fastopt.engine.core.hyperparameters import NumberOnDevice
from fastopt.engine.update.run import run_many
from fastopt.engine.update.update import Update
from fastopt.torch import tensors


class Call(NamedTuple):
    """Tensors of one device that share their coefficients."""

    update: Update
    #: Each tensor's arrays, in the order of the rule.
    arrays: list[tuple[Any, ...]]
    hyperparameters: tuple[Any, ...]


def check(arrays: Sequence[tuple[Any, ...]], labels: Sequence[str]) -> None:
    """Raise if a state does not fit its parameter, or if kernels cannot run here."""
    from fastopt.device.select import machine

    for (param, *state), label in zip(arrays, labels, strict=True):
        for i, array in enumerate(state, 1):
            check_fit(array, param, f"state {i} of {label}")
    machine()


def check_fit(tensor: Any, param: Any, name: str) -> None:
    """Raise unless a tensor is on its parameter's device and has its shape."""
    tensors.check(tensor, name)
    if tensor.device != param.device:
        raise ValueError(f"{name} is on device {tensor.device}; expected it on {param.device}, where the parameter is")
    if tensor.shape != param.shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {tuple(param.shape)}")


def prepare(calls: Sequence[Call]) -> None:
    """Raise the errors of calls that can be found before the first launch."""
    if calls and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("a CUDA graph is being captured; expected none, because it would record this one step")
    for call in calls:
        with suppress(NumberOnDevice):  # a learning rate, which the device checks
            call.update.prepare(call.hyperparameters)


def run(calls: Sequence[Call]) -> None:
    """Launch the updates on each device's current stream."""
    for call in calls:
        run_many(call.update, call.arrays, call.hyperparameters, None, None)
