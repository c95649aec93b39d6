"""Who compiles a rule into kernels: one file per backend, found by name.

A backend for the host has one function, ``kernel(rule, dtype, form)``, which returns the address of a kernel; ``form``
is a position in ``fastopt.codegen.parse.FORMS``: with or without coupled and decoupled weight decay. That for CUDA
devices compiles kernels of another kind, for `fastopt.device`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from fastopt.backends import cython
from fastopt.common.messages import brief
from fastopt.errors import BackendUnavailable

#: What ``backend=`` accepts, and how each is made to run. "reference" never comes here: see fastopt/reference/.
MODULES = {"cython": "fastopt.backends.cython", "numba": "fastopt.backends.numba", "cuda": "fastopt.backends.cuda"}
NAMES = (*MODULES, "reference")


def find_backend(name: str) -> ModuleType:
    """Return a backend's module, or raise what says why there is none and what to do."""
    if name not in MODULES:
        raise ValueError(f"backend is {brief(name)}; expected None or one of {', '.join(map(repr, NAMES))}")
    try:
        return import_module(MODULES[name])
    except BackendUnavailable:
        raise
    except ImportError as error:
        message = f"backend {name!r} needs a package that is missing: pip install numba ({error})"
        raise BackendUnavailable(message) from error


def find_host_backend(name: str, array: str) -> ModuleType:
    """Return the module of a backend that runs over the host's memory, where ``array`` is."""
    if name == "cuda":
        from fastopt.device.select import machine

        machine()
        raise ValueError(f"backend is 'cuda'; expected another, since {array} is in the host's memory")
    return find_backend(name)


def load_kernel(backend: str, rule: Callable[..., object], dtype: str, form: int) -> tuple[int, int]:
    """Return the address of one of the rule's kernels, and of the codecs for its compute type."""
    return find_backend(backend).kernel(rule, dtype, form), cython.codecs(dtype)


def load_panel_kernel(backend: str, name: str, dtype: str, form: int) -> int:
    """Return the address of one of the norms' kernels."""
    address: int = find_backend(backend).panel_kernel(name, dtype, form)
    return address


def load_column_kernel(backend: str, name: str, dtype: str) -> int:
    """Return the address of one of the kernels of feature scaling."""
    address: int = find_backend(backend).column_kernel(name, dtype)
    return address


def load_random_kernel(backend: str, name: str, dtype: str) -> tuple[int, int, int]:
    """Return the addresses of a random rule's kernel, of the codecs for its compute type, of what draws bits."""
    return find_backend(backend).random_kernel(name, dtype), cython.codecs(dtype), cython.draw(dtype)


def load_codecs(dtype: str) -> int:
    """Return the address of the codecs between this compute type and what arrays store."""
    return cython.codecs(dtype)


def load_summing(dtype: str) -> int:
    """Return the address of what sums of squares of this compute type are made with."""
    return cython.summing(dtype)
