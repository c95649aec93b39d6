"""Kernels that Numba compiles when they are asked for, with the same C signature as those built ahead of time.

The text of a kernel stands in a file of the user's cache folder, where Numba keeps the machine code beside it. Where
that folder can't be written, a kernel is compiled anew in each process.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import carray, float32, float64, types
from numba.extending import overload

import fastopt
from fastopt import norm_rules
from fastopt.backends.kept import cache_folder, write_whole
from fastopt.codegen.panels_to_numba import panel_module
from fastopt.codegen.rule_text import FORMS, source_of
from fastopt.codegen.to_numba import numba_module
from fastopt.primitives import fabs, gate, relu, sign, sqrt

__all__ = ["carray", "compiled", "fabs", "float32", "float64", "gate", "inlined", "kernel", "kernel_of", "named_apart",
           "panel_kernel", "panel_kernel_of", "relu", "sign", "sqrt"]  # fmt: skip

#: Without the NumPy error model, Numba checks every division for a zero and vectorises none: 0.54 -> 1.90 ms. And
#: ``fastmath=True`` of a user's function would be handed on to those of this package that it calls.
OPTIONS = {"error_model": "numpy", "fastmath": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def named_apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put the text's digest into the function's name.

    Machine code is linked by names, in which Numba counts the functions of a process. Code of two kernels that two
    processes compiled, each as its first, would bear the same names in the cache; and a third process, loading both,
    would run the first in the place of the second.
    """
    function.__qualname__ = f"{function.__name__}_{Path(function.__code__.co_filename).stem.strip('<>')}"
    return function


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that becomes part of those that call it."""
    return numba.njit(inline="always", **OPTIONS)(named_apart(function))


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function that others call: a loop over arrays, say."""
    return numba.njit(**OPTIONS)(named_apart(function))


@overload(sign)  # type: ignore[untyped-decorator]
def _sign(x: Any) -> Callable[[Any], Any]:
    real = np.float32 if x == types.float32 else np.float64  # a literal would make it float64 for both
    zero, one, minus_one = real(0), real(1), real(-1)

    def of_same_type(x: Any) -> Any:
        return one if x > zero else (minus_one if x < zero else x)

    return of_same_type


@overload(relu)  # type: ignore[untyped-decorator]
def _relu(x: Any) -> Callable[[Any], Any]:
    zero = (np.float32 if x == types.float32 else np.float64)(0)

    def of_same_type(x: Any) -> Any:
        return zero if x <= zero else x

    return of_same_type


@overload(gate)  # type: ignore[untyped-decorator]
def _gate(dy: Any, y: Any) -> Callable[[Any, Any], Any]:
    zero = (np.float32 if y == types.float32 else np.float64)(0)

    def of_same_type(dy: Any, y: Any) -> Any:
        return zero if y <= zero else dy

    return of_same_type


def kernel_of(dtype: str) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that compiles void (void **arrays, Py_ssize_t n, const dtype *scalars)."""
    real = getattr(types, dtype)
    signature = types.void(types.CPointer(types.CPointer(real)), types.intp, types.CPointer(real))
    return lambda function: _compile(function, signature)


def panel_kernel_of(function: Callable[..., None]) -> Any:
    """Compile void (void **arrays, const Py_ssize_t *sizes)."""
    return _compile(function, types.void(types.CPointer(types.voidptr), types.CPointer(types.intp)))


def _compile(function: Callable[..., None], signature: Any) -> Any:
    named_apart(function)
    compiled = numba.cfunc(signature, error_model="numpy", cache=os.path.exists(function.__code__.co_filename))
    try:
        return compiled(function)
    except Exception:  # a damaged cache raises whatever unpickling does; a bad rule raises again
        return numba.cfunc(signature, error_model="numpy")(function)


def kernel(rule: Callable[..., object], dtype: str, form: int) -> int:
    """Return the address of one of the rule's kernels, compiled now if it is not in the cache."""
    address: int = _compiled(numba_module(source_of(rule), rule.__name__, FORMS[form], dtype)).address
    return address


def panel_kernel(name: str, dtype: str, form: int) -> int:
    """Return the address of one of the norms' kernels, compiled now if it is not in the cache."""
    address: int = _compiled(panel_module(inspect.getsource(norm_rules), name, form, dtype)).address
    return address


@cache  # which also keeps the machine code alive
def _compiled(text: str) -> Any:
    names: dict[str, Any] = {"__name__": __name__}  # a module that can be imported when the cache is read
    exec(compile(text, _file_of(text), "exec"), names)
    return names["kernel"]


def _file_of(text: str) -> str:
    """Return the path of a file with this text in the cache folder, or a name for it if there can be none.

    The file's name covers all that the machine code depends on and Numba does not look at.
    """
    from fastopt import primitives

    sources = [inspect.getsource(primitives), inspect.getsource(sys.modules[__name__])]
    covered = [text, *sources, fastopt.__version__, numba.__version__]
    name = f"kernel_{hashlib.sha256(chr(0).join(covered).encode()).hexdigest()[:20]}.py"
    path = cache_folder() / name
    try:
        if not path.exists() or path.read_text() != text:
            write_whole(path, text.encode())
    except OSError:
        return f"<{name}>"
    return str(path) if os.access(path.parent, os.W_OK) else f"<{name}>"
