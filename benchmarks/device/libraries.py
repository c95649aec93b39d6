"""Who holds the arrays of all candidates: the first of PyTorch, CuPy and Numba that can use the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np


class Library(NamedTuple):
    """How arrays come to a device and back, and which libraries of candidates take them as they are."""

    name: str
    put: Callable[[np.ndarray], Any]
    get: Callable[[Any], np.ndarray]
    shared_with: tuple[str, ...] = ()


def find_library() -> Library:
    """Return the first library that is here; Numba always is."""
    if torch_has_cuda():
        return torch_library("cuda")
    return cupy_library() if find_spec("cupy") else numba_library()


def missing_peers() -> Iterator[str]:
    """Say who can't take part, and why."""
    if not find_spec("torch"):
        yield "PyTorch is not installed: its columns stay empty"
    elif not torch_has_cuda():
        yield "This PyTorch finds no CUDA device: its columns stay empty"
    if not find_spec("cupy"):
        yield "CuPy is not installed: its column stays empty"


def torch_has_cuda() -> bool:
    """Return whether PyTorch is here and can use a device."""
    if not find_spec("torch"):
        return False
    import torch

    return torch.cuda.is_available()


def torch_library(device: str) -> Library:
    """PyTorch's tensors."""
    import torch

    return Library(
        "torch",
        lambda array: torch.tensor(array, device=device),
        lambda tensor: tensor.detach().cpu().numpy(),
        ("torch", "cupy") if device == "cuda" else ("torch",),
    )


def cupy_library() -> Library:
    """CuPy's arrays."""
    import cupy

    return Library("cupy", cupy.array, cupy.asnumpy, ("cupy",))


def numba_library() -> Library:
    """Numba's device arrays."""
    from numba import cuda

    return Library("numba", cuda.to_device, lambda array: array.copy_to_host(), ("cupy",))
