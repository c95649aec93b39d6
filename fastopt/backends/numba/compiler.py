"""Compiles the text of a kernel with Numba, and defines the functions that the text uses."""

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

#: Without the NumPy error model, Numba checks every division for zero and does not vectorise it: 0.54 -> 1.90 ms. A
#: user's ``fastmath=True`` would also apply to this package's functions that the user's function calls.
OPTIONS = {"error_model": "numpy", "fastmath": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def named_apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """Include the name of the text's file, which contains its digest, in the function's name.

    Machine code is linked by names, which Numba distinguishes by counting the functions of a process. The first
    functions of two processes would have the same names in a user's cache, and a third process that loads both would
    run the first in place of the second.
    """
    function.__qualname__ = f"{function.__name__}_{Path(function.__code__.co_filename).stem.strip('<>')}"
    return function


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that is inlined in its callers."""
    return numba.njit(inline="always", **OPTIONS)(named_apart(function))


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function that others call, such as a loop over arrays."""
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
    """Return the same kind of decorator for a kernel with arrays of different types."""
    return _compiled_as(types.CPointer(types.voidptr), types.intp, types.CPointer(real))


#: A decorator that compiles void (void **arrays, const Py_ssize_t *sizes).
tile_kernel_of = _compiled_as(types.CPointer(types.voidptr), types.CPointer(types.intp))


@cache  # this also keeps the machine code alive
def c_function(text: str) -> Any:
    """Return the C function that is named ``kernel`` in the text of a module."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, "<fastopt_kernel>", "exec"), names)
    return names["kernel"]
