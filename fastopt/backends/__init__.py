"""The backends, which compile rules into kernels: one module per backend, found by name."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import cast

from fastopt.backends import cython
from fastopt.backends.protocol import HostBackend
from fastopt.common.messages import brief
from fastopt.engine.core import devices
from fastopt.errors import BackendUnavailable
from fastopt.specs.backends import BACKENDS, MODULES


def find_backend(name: str) -> ModuleType:
    """Return a backend's module, or raise an error with the reason and a solution."""
    if name not in MODULES:
        raise ValueError(f"backend is {brief(name)}; expected None or one of {', '.join(map(repr, BACKENDS))}")
    try:
        return import_module(MODULES[name])
    except BackendUnavailable:
        raise
    except ImportError as error:
        message = f"backend {name!r} needs a package that is missing: pip install 'fastopt[numba]' ({error})"
        raise BackendUnavailable(message) from error


def find_host_backend(name: str, array: str) -> HostBackend:
    """Return the backend of that name, which must run on host memory, where ``array`` is."""
    if name == "cuda":
        devices.dispatch("select").machine()  # raises an error with the reason if no device is available
        raise ValueError(f"backend is 'cuda'; expected another, since {array} is in the host's memory")
    return cast(HostBackend, find_backend(name))


def load_kernel(backend: str, family: str, name: str, dtype: str, variant: int = 0, source: str | None = None) -> int:
    """Return the address of a kernel: see `HostBackend.kernel`."""
    return cast(HostBackend, find_backend(backend)).kernel(family, name, dtype, variant, source)


def load_table(name: str, dtype: str) -> int:
    """Return the address of a table of C functions for a compute type, which all backends share.

    "codecs" convert between arrays and the compute type, "summing" sums squares, "draw" draws random bits.
    """
    return cython.table(name, dtype)
