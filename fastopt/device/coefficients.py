"""Coefficients computed from numbers on the device, so that a captured CUDA graph remains valid when they change.

Coefficients are computed by an update's own function. If a hyperparameter (lr, step) is on the device, the function is
called with a tracer in place of the number, which records the operations. The record becomes a kernel of one thread
that computes the coefficients on the device, in float64, where the update reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

from fastopt.codegen.cuda.update import Scalars
from fastopt.coefficients.ranges import FLAG
from fastopt.device.machine import Memory
from fastopt.device.select import machine
from fastopt.engine.core.hyperparameters import Hyperparameters, is_on_device
from fastopt.engine.update.update import Update

#: The functions of `math` that the device also supports.
FUNCTIONS = ("exp", "log", "log1p", "sqrt")

#: The dtypes of numbers on the device.
NUMBERS = {"<f4": "float32", "<f8": "float64", "<i4": "int32", "<i8": "int64"}


class Number(NamedTuple):
    """One number on a device."""

    name: str
    storage: str
    address: int
    device: int


class Trace(NamedTuple):
    """The scalars as expressions of numbers on the device (None: the host knows them), and their constants."""

    numbers: tuple[Number, ...]
    #: The caller's objects.
    given: tuple[Any, ...]
    texts: tuple[str | None, ...]
    constants: tuple[float, ...]


def trace(update: Update, hyperparameters: tuple[Any, ...]) -> tuple[tuple[Any, ...], Trace]:
    """Compute the scalars of an update from hyperparameters, some of which are on the device.

    Return the scalars, with 1.0 for those that only the device can compute, and their expressions. An operation that
    can't be recorded, such as a choice that depends on the number, raises a TypeError.
    """
    by_name = dict(zip(update.hyperparameters, hyperparameters, strict=True))
    given = {name: value for name, value in by_name.items() if is_on_device(value)}
    numbers = [number_of(value, name) for name, value in given.items()]
    constants: list[float] = []
    known = {number.name: _Traced(number.name, constants, number.name) for number in numbers}
    traced = _for_tracing(update.coefficients)(*_checked(update.check, {**by_name, **known}))
    texts = tuple(each.text if isinstance(each, _Traced) else None for each in traced)
    scalars = tuple(1.0 if isinstance(each, _Traced) else each for each in traced)
    return scalars, Trace(tuple(numbers), tuple(given.values()), texts, tuple(constants))


def number_of(value: Any, name: str) -> Number:
    """Check the properties of a number on the device."""
    if getattr(value, "requires_grad", False):
        value = value.detach()
    interface = value.__cuda_array_interface__
    shape, typestr, (address, _) = interface["shape"], interface["typestr"], interface["data"]
    if name == "eps":
        raise TypeError("eps is on a CUDA device; expected it on the host, which prevents it from underflowing")
    if any(extent != 1 for extent in shape):
        raise ValueError(f"{name} has shape {tuple(shape)}; expected one number")
    if typestr not in NUMBERS:
        raise TypeError(f"{name} has dtype {typestr}; expected one of {', '.join(NUMBERS.values())}")
    return Number(name, NUMBERS[typestr], address, machine().device_of(address))


# ---- Tracing


def _operator(symbol: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the operators with a traced number on the left, and on the right."""
    pattern = f"({{}} {symbol} {{}})"
    return lambda self, other: self._write(pattern, self, other), lambda self, other: self._write(pattern, other, self)


class _Traced:
    """A number that only the device knows, as an expression of others with constants c0, c1, ..."""

    def __init__(self, text: str, constants: list[float], origin: str):
        self.text, self.constants, self.origin = text, constants, origin

    def _write(self, pattern: str, *operands: Any) -> _Traced:
        texts = []
        for operand in operands:
            if isinstance(operand, _Traced):
                texts.append(operand.text)
            else:
                texts.append(f"c{len(self.constants)}")
                self.constants.append(float(operand))
        return _Traced(pattern.format(*texts), self.constants, self.origin)

    __add__, __radd__ = _operator("+")
    __sub__, __rsub__ = _operator("-")
    __truediv__, __rtruediv__ = _operator("/")
    __pow__, __rpow__ = _operator("**")

    def __mul__(self, other: Any) -> Any:
        # A weight decay of 0 is an expression as well: the kernel without weight decay is another one.
        return self._write("({} * {})", self, other) if isinstance(other, _Traced) or other else 0.0

    def __rmul__(self, other: Any) -> Any:
        return self._write("({} * {})", other, self) if other else 0.0

    def __neg__(self) -> Any:
        return self._write("(-{})", self)

    def _refuse(self, *_: Any) -> Any:
        raise TypeError(f"{self.origin} is on a CUDA device; expected it on the host, since a choice depends on it")

    __bool__ = __float__ = __int__ = __index__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def _written(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function of `math` so that it also accepts traced numbers."""

    def call(*values: Any) -> Any:
        traced = [value for value in values if isinstance(value, _Traced)]
        if not traced:
            return function(*values)
        return traced[0]._write(f"{name}({', '.join(['{}'] * len(values))})", *values)

    return call


def _checked(check: Hyperparameters, values: dict[str, Any]) -> list[Any]:
    """Check the values that the host knows; numbers on the device are not checked."""
    ranges = {"step": (1,), **check.ranges}
    legal = [
        ranges[name][0] if isinstance(value, _Traced) and ranges[name] is not FLAG else value
        for name, value in values.items()
    ]
    return [
        given if isinstance(given, _Traced) else value
        for given, value in zip(values.values(), check(*legal), strict=True)
    ]


def _for_tracing(coefficients: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with replaced globals, so that the functions it calls accept traced numbers."""
    names = dict(coefficients.__globals__)
    for name, value in coefficients.__globals__.items():
        if isinstance(value, FunctionType) and value.__module__ == coefficients.__module__:
            names[name] = FunctionType(value.__code__, names, name, value.__defaults__)
        elif name in FUNCTIONS:
            names[name] = _written(name, value)
    names["max"] = _written("max", max)
    return FunctionType(coefficients.__code__, names, coefficients.__name__, coefficients.__defaults__)


# ---- On the device


def compute(found: Trace, scalars: tuple[float, ...], dtype: str, device: int, stream: int) -> tuple[Any, Memory]:
    """Put a kernel into the stream that computes the scalars.

    Return the update's argument that points to them, and their memory, which this call must hold until the update is in
    the stream.
    """
    values = tuple(value for value, text in zip(scalars, found.texts, strict=True) if text is None)
    numbers = tuple((number.name, number.storage) for number in found.numbers)
    kernel = Scalars(found.texts, numbers, len(found.constants), dtype)
    memory = machine().allocate(device, stream, 8 * len(scalars))
    pointers = [machine().pointer(number.address, number.storage, 1) for number in found.numbers]
    out = machine().pointer(memory.address, dtype, len(scalars))
    machine().launch(kernel, device, stream, 1, 1, [*pointers, out, *values, *found.constants])
    return out, memory
