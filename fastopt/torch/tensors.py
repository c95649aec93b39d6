"""PyTorch's tensors as the engine takes them, or what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fastopt.specs.dtypes import FLOATS, NAMES

#: The dtypes of tensors that updates take.
DTYPES = tuple(getattr(torch, name) for name in NAMES)


def is_on_device(tensor: Any) -> bool:
    """Return whether a tensor is on a CUDA device."""
    return bool(tensor.is_cuda)


def check(tensor: Any, name: str) -> None:
    """Raise unless a tensor is one that can be read and written by its address."""
    if tensor.layout is not torch.strided:
        what = "sparse" if "sparse" in str(tensor.layout) else f"of layout {tensor.layout}"
        raise TypeError(f"{name} is {what}; expected a dense tensor")
    if tensor.dtype not in DTYPES:
        raise TypeError(f"{name} has dtype {tensor.dtype}; expected {FLOATS}")
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name} is on device {tensor.device}; expected it in the host's memory or on a CUDA device")


def as_arrays(tensors: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Return ndarrays over the memory of tensors in the host's, bfloat16 shown as int16; None stays None."""
    try:  # as if there were neither bfloat16 nor anything wrong: to look first would take twice as long
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
    except (TypeError, RuntimeError):  # there is something about it
        check(tensor, name)
    if is_on_device(tensor):
        raise ValueError(f"{name} is on device {tensor.device}; expected it in the host's memory, as its parameter is")
    tensor = tensor.detach().resolve_neg()
    return (tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor).numpy()


def number(value: Any) -> Any:
    """Return a hyperparameter without its tensor, if it is one: to read it where it requires gradients would warn."""
    return value.item() if isinstance(value, torch.Tensor) else value
