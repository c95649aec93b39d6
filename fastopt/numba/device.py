"""Updates in user-defined CUDA kernels: one device function per rule, which updates one element.

A device function takes an element of each array, and the coefficients, which `coefficients` computes on the host. It
returns the values to store: param first, then the state. See docs/calling-from-numba.md.

This is `fastopt.numba.cuda`. A module of that name could not be imported with numba-cuda installed, whose finder claims
all module names that contain "numba.cuda".
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.backends.cuda import SIMULATED, inlined
from fastopt.codegen.cuda.elements import element_module
from fastopt.codegen.numba.calls import rounding_of
from fastopt.codegen.parse import parse_functions, rules_of
from fastopt.engine.update.update import Update
from fastopt.numba.rounding import ROUNDINGS
from fastopt.rules import update as rules
from fastopt.specs.updates import UPDATES

RULES = [rule.name for rule in rules_of(parse_functions(inspect.getsource(rules)))]

__all__ = ["coefficients", *RULES]


def coefficients(public: Callable[..., None], dtype: str = "float32", /, **options: Any) -> tuple[Any, ...]:
    """Return the coefficients of one step, in the order of the device function.

    Parameters
    ----------
    public : function
        The update's function, such as `fastopt.adam`.
    dtype : {"float32", "float64"}
        The compute type, which is the dtype of the arrays.
    options
        The update's hyperparameters, and ``True`` for each optional array that is used: ``v_max=True``.

    Returns
    -------
    tuple of numpy.float32 or numpy.float64

    Raises
    ------
    TypeError, ValueError
        For invalid hyperparameters, as in the update.

    Examples
    --------
    >>> import fastopt
    >>> from fastopt.numba import cuda
    >>> cuda.coefficients(fastopt.sgd, "float32", lr=0.5, weight_decay=0.25)
    (np.float32(1.0), np.float32(0.25), np.float32(0.0), np.float32(0.5))
    """
    update, hyperparameters = called(public, options)
    values = zip(update.scalars, update.prepare(hyperparameters), strict=True)
    real = getattr(np, dtype)
    return tuple(real(ROUNDINGS[dtype][rounding_of(name)](float(value))) for name, value in values)


def called(public: Callable[..., None], options: dict[str, Any]) -> tuple[Update, tuple[Any, ...]]:
    """Return the update that a public function runs with these options, and its hyperparameters."""
    spec = UPDATES[public.__name__]
    given = {name: bool(options.pop(name, False)) for name in spec.optional}
    parameters = inspect.signature(public).parameters.values()
    hyperparameters = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    bound = inspect.Signature(hyperparameters).bind(**options)
    bound.apply_defaults()
    values = bound.arguments
    asked = {option: given[name] for name, option in spec.options.items()}
    return spec.update_for({**values, **asked}), tuple(values[name] for name in spec.hyperparameters)


def _operations() -> dict[str, Any]:
    """Return the operations of a rule, in the type of their operands, each rounded separately."""
    if SIMULATED:
        return {
            "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
            "sqrt": np.sqrt, "fabs": np.fabs,
            "sign": lambda x: type(x)(1) if x > 0 else (type(x)(-1) if x < 0 else x),
        }  # fmt: skip
    from numba.core.cgutils import ir  # llvmlite's
    from numba.cuda.cgutils import get_or_insert_function
    from numba.cuda.extending import intrinsic

    def operation(generate: Callable[..., Any]) -> Any:
        def binary(context: Any, a: Any, b: Any) -> Any:
            return a(a, b), lambda _context, builder, _signature, values: generate(builder, *values)

        return intrinsic(binary)

    def rounded(name: str) -> Callable[..., Any]:
        def generate(builder: Any, a: Any, b: Any) -> Any:
            kind = ir.FunctionType(a.type, [a.type, a.type])
            suffix = "f" if isinstance(a.type, ir.FloatType) else "d"
            called = get_or_insert_function(builder.module, kind, f"llvm.nvvm.{name}.rn.{suffix}")
            return builder.call(called, [a, b])

        return generate

    def difference(builder: Any, a: Any, b: Any) -> Any:
        return rounded("add")(builder, a, builder.fsub(ir.Constant(b.type, -0.0), b))  # NVVM has no fneg

    def sign(context: Any, x: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            (value,) = values
            zero, one, minus_one = (ir.Constant(value.type, each) for each in (0.0, 1.0, -1.0))
            below = builder.select(builder.fcmp_ordered("<", value, zero), minus_one, value)
            return builder.select(builder.fcmp_ordered(">", value, zero), one, below)

        return x(x), generate

    return {
        "add": operation(rounded("add")), "sub": operation(difference), "mul": operation(rounded("mul")),
        "sqrt": math.sqrt, "fabs": math.fabs, "sign": intrinsic(sign),
    }  # fmt: skip


def _device_function(rule: str, operations: dict[str, Any]) -> Any:
    names = {"inlined": inlined, **operations}
    exec(compile(element_module(inspect.getsource(rules), rule), f"<fastopt {rule} for CUDA>", "exec"), names)
    return names[rule]


globals().update({rule: _device_function(rule, operations) for operations in [_operations()] for rule in RULES})
