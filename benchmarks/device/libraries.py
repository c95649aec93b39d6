"""The library that allocates the arrays: the first of PyTorch, CuPy and Numba that can use the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np


class Library(NamedTuple):
    """Transfers to and from a device, and the libraries of candidates that accept the arrays."""

    name: str
    put: Callable[[np.ndarray], Any]
    get: Callable[[Any], np.ndarray]
    shared_with: tuple[str, ...] = ()


def find_library() -> Library:
    """Return the first available library; Numba is always available."""
    if torch_has_cuda():
        return torch_library("cuda")
    return cupy_library() if find_spec("cupy") else numba_library()


def missing_peers() -> Iterator[str]:
    """Yield the reasons why candidates are unavailable."""
    if not find_spec("torch"):
        yield "PyTorch is not installed: its columns will be empty"
    elif not torch_has_cuda():
        yield "This PyTorch finds no CUDA device: its columns will be empty"
    if not find_spec("cupy"):
        yield "CuPy is not installed: its column will be empty"


def torch_has_cuda() -> bool:
    """Return whether PyTorch is installed and can use a device."""
    if not find_spec("torch"):
        return False
    import torch

    return torch.cuda.is_available()


def torch_library(device: str) -> Library:
    """PyTorch tensors."""
    import torch

    return Library(
        "torch",
        lambda array: torch.tensor(array, device=device),
        lambda tensor: tensor.detach().cpu().numpy(),
        ("torch", "cupy") if device == "cuda" else ("torch",),
    )


def cupy_library() -> Library:
    """CuPy arrays."""
    import cupy

    return Library("cupy", cupy.array, cupy.asnumpy, ("cupy",))


def numba_library() -> Library:
    """Numba device arrays."""
    from numba import cuda

    return Library("numba", cuda.to_device, lambda array: array.copy_to_host(), ("cupy",))
