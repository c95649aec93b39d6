"""Who compiles a rule into kernels: one file per backend, found by name.

A backend has one function, ``kernel(rule, dtype, form)``, which returns the address of a kernel; ``form`` is a position
in ``fastopt.codegen.rule_text.FORMS``: with or without coupled and decoupled weight decay.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from fastopt.backends import cython
from fastopt.errors import BackendUnavailable

#: What ``backend=`` accepts, and how each is made to run. "reference" never comes here: see fastopt/reference.py.
MODULES = {"cython": "fastopt.backends.cython", "numba": "fastopt.backends.numba"}
NAMES = (*MODULES, "cuda", "reference")


def load_kernel(backend: str, rule: Callable[..., object], dtype: str, form: int) -> tuple[int, int]:
    """Return the address of one of the rule's kernels, and of the codecs for its compute type."""
    if backend == "cuda":
        raise BackendUnavailable("backend 'cuda' is not in this version of fastopt, which updates host arrays only")
    if backend not in MODULES:
        raise ValueError(f"backend is {backend!r}; expected None or one of {', '.join(map(repr, NAMES))}")
    try:
        maker = import_module(MODULES[backend])
    except ImportError as error:
        raise BackendUnavailable(
            f"backend {backend!r} needs a package that is missing: pip install numba ({error})"
        ) from error
    return maker.kernel(rule, dtype, form), cython.codecs(dtype)
