"""How the engine reaches what runs kernels on devices: `fastopt.device` registers itself, and nothing here imports it.

The modules that are asked for by name: "select" for the machine, "protocol" for ``__cuda_array_interface__``,
"coefficients" for numbers on a device, and one for each family of kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

_loaders: list[Callable[[str], Any]] = []


class View(NamedTuple):
    """Where an array's elements stand; strides are counted in elements."""

    storage: str
    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def register(load: Callable[[str], Any]) -> None:
    """Say what loads a module of the CUDA dispatch by its name."""
    _loaders[:] = [load]


def dispatch(name: str) -> Any:
    """Return a module of the CUDA dispatch."""
    return _loaders[0](name)
