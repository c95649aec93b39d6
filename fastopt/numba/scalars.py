"""The functions of `fastopt.host_scalars`, compiled by Numba from the code that Python runs.

Only what they call is another: the check of hyperparameters, which Numba compiles from `fastopt.ranges`, and what raises.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numba
from numba.extending import overload

from fastopt import host_scalars
from fastopt.backends.numba import OPTIONS
from fastopt.codegen.calls_to_numba import check_module
from fastopt.engine.hyperparameters import Hyperparameters, whole
from fastopt.numba.modules import VERSION, module
from fastopt.ranges import RANGES

STEP = (1, 2**63 - 1, "a whole number, 1 or more: steps count from 1")


@cache
def compiled_scalars() -> dict[str, Any]:
    """Return the names of `fastopt.host_scalars`, its functions and checks being compiled ones."""
    names = dict(vars(host_scalars))
    for name, value in vars(host_scalars).items():
        if isinstance(value, Hyperparameters):
            names[name] = _check(value)
        elif isinstance(value, FunctionType) and value.__module__ == host_scalars.__name__ and name != "refuse":
            function = FunctionType(value.__code__, names, name, value.__defaults__)
            names[name] = numba.njit(**OPTIONS)(of_this_version(function))
    return names


def _check(hyperparameters: Hyperparameters) -> Any:
    checks = [(name, *(STEP if name == "step" else RANGES[name])) for name in hyperparameters.names]
    return module(check_module(checks))["check"]


def of_this_version(function: Callable[..., Any], *more: str) -> Callable[..., Any]:
    """Put this version into a function's name, by which Numba links it."""
    function.__qualname__ = "_".join([function.__name__, VERSION, *more])
    return function


@overload(host_scalars.refuse, jit_options=OPTIONS, prefer_literal=True)  # type: ignore[untyped-decorator]
def _refuse(name: Any, value: Any, expected: Any, bound: Any = None) -> Callable[..., None]:
    message = _message(name, expected)

    def refused(name: Any, value: Any, expected: Any, bound: Any = None) -> None:
        raise ValueError(message)

    return of_this_version(refused, message)


@overload(whole, jit_options=OPTIONS, prefer_literal=True)  # type: ignore[untyped-decorator]
def _whole(name: Any, given: Any, expected: Any) -> Callable[..., Any]:
    message = _message(name, expected)

    def counted(name: Any, given: Any, expected: Any) -> Any:
        if given < 1:
            raise ValueError(message)
        return given

    return of_this_version(counted, message)


def _message(name: Any, expected: Any) -> str:
    """What to say, of two literals."""
    return f"{name.literal_value} is out of range; expected {expected.literal_value}"
