"""Coefficients from numbers on the device: so that a CUDA graph that captured a step stays right when they change.

Only an update's own function computes its coefficients. If a hyperparameter (lr, step) is on the device, the function
is called with a stand-in for the number, which records what is done with it. From that record comes a kernel of one
thread that computes the coefficients on the device, in float64, where the update reads them.
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

#: The functions of `math` that the device computes as well.
FUNCTIONS = ("exp", "log", "log1p", "sqrt")

#: What a number on the device may be stored as.
NUMBERS = {"<f4": "float32", "<f8": "float64", "<i4": "int32", "<i8": "int64"}


class Number(NamedTuple):
    """One number on a device."""

    name: str
    storage: str
    address: int
    device: int


class Trace(NamedTuple):
    """How scalars follow from numbers on the device: their texts (None: the host knows), and the constants in those."""

    numbers: tuple[Number, ...]
    #: The numbers as they came.
    given: tuple[Any, ...]
    texts: tuple[str | None, ...]
    constants: tuple[float, ...]


def trace(update: Update, hyperparameters: tuple[Any, ...]) -> tuple[tuple[Any, ...], Trace]:
    """Compute the scalars of an update from hyperparameters some of which are on the device.

    Return the scalars, with 1.0 for those that only the device knows, and how it computes them. What can't be written
    down, such as a choice that depends on the number, is a TypeError.
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
    """Look at what a number on the device says of itself."""
    if getattr(value, "requires_grad", False):
        value = value.detach()
    interface = value.__cuda_array_interface__
    shape, typestr, (address, _) = interface["shape"], interface["typestr"], interface["data"]
    if name == "eps":
        raise TypeError("eps is on a CUDA device; expected it on the host, where it is kept from vanishing")
    if any(extent != 1 for extent in shape):
        raise ValueError(f"{name} has shape {tuple(shape)}; expected one number")
    if typestr not in NUMBERS:
        raise TypeError(f"{name} has dtype {typestr}; expected one of {', '.join(NUMBERS.values())}")
    return Number(name, NUMBERS[typestr], address, machine().device_of(address))


# ---- Writing down


def _operator(symbol: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operator with a traced number on its left, and on its right."""
    pattern = f"({{}} {symbol} {{}})"
    return lambda self, other: self._write(pattern, self, other), lambda self, other: self._write(pattern, other, self)


class _Traced:
    """A number that only the device knows, as an expression of others; constants in it are c0, c1, ..."""

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
        # A weight decay of 0 stays one: the kernel without it is another.
        return self._write("({} * {})", self, other) if isinstance(other, _Traced) or other else 0.0

    def __rmul__(self, other: Any) -> Any:
        return self._write("({} * {})", other, self) if other else 0.0

    def __neg__(self) -> Any:
        return self._write("(-{})", self)

    def _refuse(self, *_: Any) -> Any:
        raise TypeError(f"{self.origin} is on a CUDA device; expected it on the host, since what is done depends on it")

    __bool__ = __float__ = __int__ = __index__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def _written(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `math` that takes traced numbers as well."""

    def call(*values: Any) -> Any:
        traced = [value for value in values if isinstance(value, _Traced)]
        if not traced:
            return function(*values)
        return traced[0]._write(f"{name}({', '.join(['{}'] * len(values))})", *values)

    return call


def _checked(check: Hyperparameters, values: dict[str, Any]) -> list[Any]:
    """Check what the host knows; numbers on the device may be anything."""
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
    """The function as it stands, but for what it calls: that takes traced numbers."""
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

    Return an update's argument for where they will be, and their memory: this call's own, for until the update is in
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
