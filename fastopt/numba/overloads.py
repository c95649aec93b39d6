"""Numba overloads of the updates, which check types and generate a function in place of the public one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import cache
from inspect import Parameter, Signature
from typing import Any

from numba import types
from numba.core.errors import TypingError
from numba.extending import overload

from fastopt.backends.numba.compiler import OPTIONS
from fastopt.codegen.numba.calls import call_lines, call_module, loop_module
from fastopt.codegen.parse import source_of
from fastopt.engine.update.update import Update
from fastopt.numba.modules import module
from fastopt.numba.rounding import ROUNDINGS
from fastopt.numba.scalars import NUMBERS, prepare_of, varying
from fastopt.specs.updates import UpdateSpec

#: Parameters of the public functions that do not apply here: the user's function decides how it runs.
ELSEWHERE = {"backend", "num_threads", "stream"}

#: For each annotation in the public functions: the accepted types, and an expression that converts them to one type, so
#: that the function of coefficients is compiled once. A step becomes a float, as in Python's ``beta**step``, because
#: Numba multiplies if the exponent is an int: radam's step size had an error of 13 ulp in float64.
#: ``float`` does not accept bool, but a product does.
KINDS: dict[str, tuple[tuple[type, ...], str, str]] = {
    "Real": ((types.Float, types.Integer, types.Boolean), "a number", "({} * 1.0)"),
    "SupportsIndex": ((types.Integer,), "a whole number", "varying(float({}))"),
    "SupportsIndex | None": ((types.Integer,), "a whole number or None", "varying(float({}))"),
    "bool": ((types.Boolean, types.Integer), "True or False", "bool({})"),
}
REALS = (types.float32, types.float64)


def register(spec: UpdateSpec) -> None:
    """Make an update's public function callable from functions that Numba compiles."""
    public = spec.function
    parameters = [each for each in inspect.signature(public).parameters.values() if each.name not in ELSEWHERE]
    signature = Signature(parameters)

    def typed(*positional: Any, **by_name: Any) -> Callable[..., None]:
        given = signature.bind(*positional, **by_name).arguments
        arrays, texts = {}, {}
        for parameter in parameters:
            if parameter.kind is Parameter.KEYWORD_ONLY:
                texts[parameter.name] = text_of(spec, parameter, given.get(parameter.name))
            elif parameter.default is Parameter.empty or not _is_none(given.get(parameter.name)):
                arrays[parameter.name] = given[parameter.name]
        check_arrays(arrays)
        return stand_in(spec, tuple(signature.parameters), tuple(arrays.items()), tuple(texts.items()))

    typed.__signature__ = signature  # type: ignore[attr-defined]
    overload(public, jit_options=OPTIONS, strict=False, prefer_literal=True)(typed)


# ---- Checks: an invalid type is an error when the user's function is compiled


def text_of(spec: UpdateSpec, parameter: Parameter, kind: Any) -> str:
    """Return the expression that passes a hyperparameter of this type, or refuse it; ``kind`` is None if not given."""
    name, default = parameter.name, parameter.default
    if kind is None or (default is None and _is_none(kind)):
        return repr(NUMBERS.get(default, default))
    if name in spec.choices:
        value = getattr(kind, "literal_value", getattr(kind, "value", None))
        if value not in spec.choices[name]:
            raise TypingError(f"{name} is {kind}; expected {' or '.join(map(repr, spec.choices[name]))} as a literal")
        return repr(NUMBERS[value])
    if isinstance(kind, types.Omitted):  # a default in the user's signature, which Numba converts
        return name
    kinds, expected, text = KINDS[parameter.annotation]
    if not isinstance(kind, kinds):
        raise TypingError(f"{name} is {kind}; expected {expected}")
    return text.format(name)


def check_arrays(arrays: dict[str, Any]) -> None:
    """Refuse arrays of unsupported types."""
    first, param = next(iter(arrays.items()))
    for name, kind in arrays.items():
        if not isinstance(kind, types.Array) or kind.dtype not in REALS:
            raise TypingError(f"{name} is {kind}; expected an array of float32 or float64")
        if not kind.aligned:
            raise TypingError(f"{name} is {kind}; expected an aligned array")
        if not kind.mutable and name != "grad":
            raise TypingError(f"{name} is {kind}, which is read-only; expected an array that may be written")
        if kind.ndim != param.ndim:
            raise TypingError(f"{name} has {kind.ndim} axes; expected {param.ndim}, as {first} has")


def _is_none(kind: Any) -> bool:
    return kind is None or isinstance(kind, types.NoneType) or (isinstance(kind, types.Omitted) and kind.value is None)


# ---- Making the function


@cache
def stand_in(
    spec: UpdateSpec,
    parameters: tuple[str, ...],
    arrays: tuple[tuple[str, Any], ...],
    hyperparameters: tuple[tuple[str, str], ...],
) -> Callable[..., None]:
    """Return the function that is compiled in place of the public one.

    ``arrays`` are the given arrays with their types; ``hyperparameters`` are all, with the expressions to pass.
    """
    kinds = dict(arrays)
    layouts = {kind.layout for kind in kinds.values()}
    ndim, flat = arrays[0][1].ndim, ""
    if ndim != 1 and layouts in ({"C"}, {"F"}):
        flat = "{0}.reshape({0}.size)" if layouts == {"C"} else "{0}.T.reshape({0}.size)"
        ndim = 1
    dtype = "float64" if types.float64 in {kind.dtype for kind in kinds.values()} else "float32"
    texts = dict(hyperparameters)
    condition, runs = runs_of(spec, kinds, texts)
    names, calls = {**ROUNDINGS[dtype], "varying": varying, "condition": spec.condition}, []
    for i, update in enumerate(runs):
        names[f"run_{i}"] = loop_of(update.rule, dtype, ndim)
        names[f"prepare_{i}"] = prepare_of(update)
        handed_on = [texts[name] for name in update.hyperparameters]
        calls.append(call_lines(f"run_{i}", f"prepare_{i}", update.arrays, handed_on, update.scalars))
    lines = calls[0]
    if condition:
        lines = [f"if {condition}:", *_indented(calls[0]), "else:", *_indented(calls[1])]
    are_runs = {name: kind.layout in "CF" for name, kind in arrays}
    text = call_module(spec.name, [f"{name}=None" for name in parameters], are_runs, flat, lines)
    made: Callable[..., None] = module(text, **names)[spec.name]
    return made


def runs_of(spec: UpdateSpec, arrays: Collection[str], texts: Mapping[str, str]) -> tuple[str, list[Update]]:
    """Return the variants that a call may run: one, or one for each value of the condition."""
    if spec.condition is None:
        return "", [spec.updates[tuple(name for name in spec.optional if name in arrays)]]
    asked = ", ".join(texts[name] for name in spec.asked)
    if isinstance(spec.condition, str) and asked in ("True", "False"):
        return "", [spec.updates[asked == "True"]]
    text = asked if isinstance(spec.condition, str) else f"condition({asked})"
    return text, [spec.updates[True], spec.updates[False]]


@cache
def loop_of(rule: Callable[..., Any], dtype: str, ndim: int) -> Any:
    """Return a rule's loop over arrays with ``ndim`` axes."""
    return module(loop_module(source_of(rule), rule.__name__, dtype, ndim))["run_"]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
