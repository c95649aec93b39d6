"""Who compiles a rule into kernels: one file per backend, found by name.

A backend has one function, ``kernels(rule, dtype)``, which returns the addresses of the rule's kernels: one per
gradient of ``rules.py`` (plain, and with coupled weight decay), in that order.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from fastopt.backends import cython
from fastopt.errors import BackendUnavailable

#: What ``backend=`` accepts, and how each is made to run. "reference" never comes here: see fastopt/reference.py.
MODULES = {"cython": "fastopt.backends.cython", "numba": "fastopt.backends.numba"}
NAMES = (*MODULES, "cuda", "reference")


def load_kernels(backend: str, rule: Callable[..., object], dtype: str) -> tuple[tuple[int, int], int]:
    """Return the addresses of the rule's two kernels, and of the codecs for their compute type."""
    if backend == "cuda":
        raise BackendUnavailable("backend 'cuda' is not in this version of fastopt; 'cython' and 'numba' update host arrays")
    if backend not in MODULES:
        raise ValueError(f"backend is {backend!r}; expected None or one of {', '.join(map(repr, NAMES))}")
    return import_module(MODULES[backend]).kernels(rule, dtype), cython.codecs(dtype)
