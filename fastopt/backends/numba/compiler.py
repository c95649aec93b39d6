"""Compiles the text of a kernel by Numba: what it calls is defined here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from numba import carray, float32, float64, types, uint32
from numba.extending import intrinsic, overload

from fastopt.backends.numba.typed import random_primitives, reinterpretation, typed_primitives
from fastopt.primitives import fabs, gate, relu, sign, sqrt

__all__ = ["carray", "compiled", "fabs", "float32", "float64", "gate", "inlined", "kernel_of", "named_apart",
           "primitives", "random_kernel_of", "relu", "sign", "sqrt", "tile_kernel_of", "uint32"]  # fmt: skip

#: Without the NumPy error model, Numba checks every division for a zero and vectorises none: 0.54 -> 1.90 ms. And
#: ``fastmath=True`` of a user's function would be handed on to those of this package that it calls.
OPTIONS = {"error_model": "numpy", "fastmath": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def named_apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put the name of the text's file, which has its digest, into the function's name.

    Machine code is linked by names, in which Numba counts the functions of a process. Code of two functions that two
    processes compiled, each as its first, would bear the same names in a user's cache; and a third process, loading
    both, would run the first in the place of the second.
    """
    function.__qualname__ = f"{function.__name__}_{Path(function.__code__.co_filename).stem.strip('<>')}"
    return function


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that becomes part of those that call it."""
    return numba.njit(inline="always", **OPTIONS)(named_apart(function))


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function that others call: a loop over arrays, say."""
    return numba.njit(**OPTIONS)(named_apart(function))


def _primitive(name: str, real: Any) -> Callable[..., Any]:
    return typed_primitives("float32" if real == types.float32 else "float64")[name]


@overload(sign)  # type: ignore[untyped-decorator]
def _sign(x: Any) -> Callable[..., Any]:
    return _primitive("sign", x)


@overload(relu)  # type: ignore[untyped-decorator]
def _relu(x: Any) -> Callable[..., Any]:
    return _primitive("relu", x)


@overload(gate)  # type: ignore[untyped-decorator]
def _gate(dy: Any, y: Any) -> Callable[..., Any]:
    return _primitive("gate", y)


def primitives(real: Any) -> dict[str, Any]:
    """Return the functions of fastopt/rules/random_primitives.py."""
    return random_primitives(real.name, numba.njit(inline="always", **OPTIONS), partial(reinterpretation, intrinsic))


def _compiled_as(*arguments: Any) -> Callable[[Callable[..., None]], Any]:
    return numba.cfunc(types.void(*arguments), error_model="numpy")  # type: ignore[no-any-return]


def kernel_of(dtype: str) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that compiles void (void **arrays, Py_ssize_t n, const dtype *scalars)."""
    real = getattr(types, dtype)
    return _compiled_as(types.CPointer(types.CPointer(real)), types.intp, types.CPointer(real))


def random_kernel_of(real: Any) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that compiles the same of a kernel whose arrays are not all of one type."""
    return _compiled_as(types.CPointer(types.voidptr), types.intp, types.CPointer(real))


#: A decorator that compiles void (void **arrays, const Py_ssize_t *sizes).
tile_kernel_of = _compiled_as(types.CPointer(types.voidptr), types.CPointer(types.intp))


@cache  # which also keeps the machine code alive
def c_function(text: str) -> Any:
    """Return the C function that the text of a module calls its ``kernel``."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, "<fastopt_kernel>", "exec"), names)
    return names["kernel"]
