"""The functions of coefficients, compiled by Numba from their Python code.

Only the errors differ: the check of hyperparameters, compiled from `fastopt.coefficients.ranges`, and messages.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic, overload

from fastopt.backends.numba.compiler import OPTIONS
from fastopt.codegen.numba.calls import check_module
from fastopt.coefficients.ranges import FLAG, OTHER
from fastopt.coefficients.update import refuse
from fastopt.engine.core.hyperparameters import Hyperparameters, whole
from fastopt.engine.update.update import Update
from fastopt.numba.modules import MODULES, VERSION, module
from fastopt.specs.updates import UPDATES
from fastopt.updates.adam import nadam_mu

#: Numbers that replace hyperparameters that are strings: with string comparisons, Numba would compile for two
#: seconds longer.
NUMBERS = {
    choice: number
    for spec in UPDATES.values()
    for choices in spec.choices.values()
    for number, choice in enumerate(choices)
}

STEP = (1, 2**63 - 1, "a whole number, 1 or more: steps count from 1")


@intrinsic  # type: ignore[untyped-decorator]
def varying(_context: Any, number: Any) -> Any:
    """A float64 that LLVM treats as unknown, because it replaces a power with constant exponent 2 by a product.

    The product differs from the power of the C library, which Python uses, for one base in 1,200.
    """

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        bits = ir.IntType(64)
        same = builder.asm(ir.FunctionType(bits, [bits]), "", "=r,0", [builder.bitcast(values[0], bits)], False)
        return builder.bitcast(same, values[0].type)

    return number(number), generate


def register_coefficients() -> None:
    """Make the functions that compute coefficients or choose a variant callable from functions that Numba compiles."""
    for spec in UPDATES.values():
        for update in spec.updates.values():
            _register(update.coefficients)
        if callable(spec.condition):
            _register(spec.condition)
    _register(nadam_mu)


def _register(function: Any) -> None:
    """Compile a function from its own code, and the functions of the same modules that it calls."""
    if function in _registered:
        return
    _registered.add(function)
    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        value = names.get(name)
        if isinstance(value, Hyperparameters):
            names[name] = _check(value)
        elif isinstance(value, FunctionType) and value.__module__ in MODULES:
            _register(value)
    constants = (NUMBERS.get(each, each) if type(each) is str else each for each in function.__code__.co_consts)
    code = function.__code__.replace(co_consts=tuple(constants))
    compiled = FunctionType(code, names, function.__name__, function.__defaults__)
    of_this_version(compiled)
    overload(function, jit_options=OPTIONS, strict=False)(lambda *types, **named: compiled)


#: The functions that are compiled.
_registered: set[Any] = set()


@cache
def prepare_of(update: Update) -> Any:
    """Return the function that checks an update's hyperparameters and computes the coefficients."""
    return _check(update.check, update.coefficients)


def _check(hyperparameters: Hyperparameters, then: Any = None) -> Any:
    """Return a function that checks hyperparameters and returns them, or the result of ``then``."""
    checks = [(name, *_range_of(name, hyperparameters)) for name in hyperparameters.names]
    name = then.__name__ if then else ""
    return module(check_module(checks, name), **{name: then})["check"]


def _range_of(name: str, hyperparameters: Hyperparameters) -> tuple[Any, Any, str]:
    allowed = STEP if name == "step" else hyperparameters.ranges[name]
    return (None, None, "") if allowed in (FLAG, OTHER) else allowed


def of_this_version(function: Callable[..., Any], *more: str) -> Callable[..., Any]:
    """Add this version to a function's name, by which Numba links it."""
    function.__qualname__ = "_".join([function.__name__, VERSION, *more])
    return function


@overload(refuse, jit_options=OPTIONS, prefer_literal=True)  # type: ignore[untyped-decorator]
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
    """Return a message from two literals."""
    return f"{name.literal_value} is out of range; expected {expected.literal_value}"
