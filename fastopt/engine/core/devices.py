"""The engine's access to the CUDA dispatch: `fastopt.device` registers itself here, and this module does not import it.

Its modules are found by name: "select" chooses the machine, "protocol" reads ``__cuda_array_interface__``,
"coefficients" handles numbers on a device, and each family of kernels has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

_loaders: list[Callable[[str], Any]] = []


class View(NamedTuple):
    """The location of an array's elements; strides are in elements."""

    storage: str
    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def register(load: Callable[[str], Any]) -> None:
    """Register the function that loads a module of the CUDA dispatch by name."""
    _loaders[:] = [load]


def dispatch(name: str) -> Any:
    """Return a module of the CUDA dispatch."""
    return _loaders[0](name)
