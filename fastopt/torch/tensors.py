"""PyTorch tensors as the engine takes them, and the errors for unsupported ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fastopt.specs.dtypes import FLOATS, NAMES

#: The tensor dtypes that updates support.
DTYPES = tuple(getattr(torch, name) for name in NAMES)


def is_on_device(tensor: Any) -> bool:
    """Return whether a tensor is on a CUDA device."""
    return bool(tensor.is_cuda)


def check(tensor: Any, name: str) -> None:
    """Raise unless a tensor can be read and written by its address."""
    if tensor.layout is not torch.strided:
        what = "sparse" if "sparse" in str(tensor.layout) else f"of layout {tensor.layout}"
        raise TypeError(f"{name} is {what}; expected a dense tensor")
    if tensor.dtype not in DTYPES:
        raise TypeError(f"{name} has dtype {tensor.dtype}; expected {FLOATS}")
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name} is on device {tensor.device}; expected it in the host's memory or on a CUDA device")


def as_arrays(tensors: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Return ndarrays over the memory of host tensors, with bfloat16 viewed as int16; None stays None."""
    try:  # first without a check for bfloat16 or errors, which would take twice as long
        return [None if tensor is None else tensor.numpy() for tensor in tensors]
    except (TypeError, RuntimeError):
        return [
            None if tensor is None else _as_array(tensor, name) for tensor, name in zip(tensors, names, strict=True)
        ]


def _as_array(tensor: Any, name: str) -> Any:
    if tensor.dtype is torch.bfloat16 and not tensor.requires_grad:
        tensor = tensor.view(torch.int16)
    try:
        return tensor.numpy()
    except (TypeError, RuntimeError):  # not a plain tensor
        check(tensor, name)
    if is_on_device(tensor):
        raise ValueError(f"{name} is on device {tensor.device}; expected it in the host's memory, as its parameter is")
    tensor = tensor.detach().resolve_neg()
    return (tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor).numpy()


def number(value: Any) -> Any:
    """Return a hyperparameter as a number: PyTorch would warn about a tensor that requires grad."""
    return value.item() if isinstance(value, torch.Tensor) else value
