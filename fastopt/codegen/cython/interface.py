"""Generates the rules' interface for other languages: C structs of scalars, and typed functions for Cython."""

from __future__ import annotations

from ..parse import SHARED_SCALARS, Function, parse_functions, rules_of
from .update import C_TYPE

HEADER = "Generated from fastopt/rules/update.py by fastopt/codegen/cython/interface.py: change those, not this."


def c_header(source: str) -> str:
    """Return fastopt_rules.h: for each rule and compute type, the struct of its kernel's scalars."""
    parts = [f"/* {HEADER} */\n#ifndef FASTOPT_RULES_H\n#define FASTOPT_RULES_H"]
    for rule in rules_of(parse_functions(source)):
        unused = "" if _decays(rule) else "; decay is unused and must be 0"
        parts.append(f"/* {rule.name}, of arrays {', '.join(rule.arrays)}{unused} */")
        parts += [
            f"typedef struct {{\n    {C_TYPE[dtype]} {', '.join(_scalars(rule))};\n}} fastopt_{_struct(rule, dtype)};"
            for dtype in C_TYPE
        ]
    return "\n\n".join([*parts, "#endif"]) + "\n"


def cython_declarations(source: str) -> str:
    """Return typed.pxd: the same structs, and one function for each, which runs the kernel."""
    parts = [f"# {HEADER}"]
    for rule in rules_of(parse_functions(source)):
        for dtype in C_TYPE:
            fields = "".join(f"    {C_TYPE[dtype]} {scalar}\n" for scalar in _scalars(rule))
            parts.append(f"cdef struct {_struct(rule, dtype)}:\n{fields}\n{_signature(rule, dtype)}")
    return "\n\n".join(parts) + "\n"


def cython_functions(source: str) -> str:
    """Return typed.pyx: the bodies of those functions."""
    parts = [
        f"# {HEADER}\n# cython: language_level=3",
        "from fastopt.engine.capi.c_api cimport fastopt_kernel, fastopt_rule, rule_named",
        'cdef extern from "core/float_mode.h" nogil:\n'
        "    ctypedef unsigned long float_mode_t\n"
        "    float_mode_t enter_float_mode()\n"
        "    void leave_float_mode(float_mode_t)",
        "cdef inline void run(\n"
        "    fastopt_kernel kernel, void **arrays, Py_ssize_t n, const void *scalars\n"
        ") noexcept nogil:\n"
        "    cdef float_mode_t caller = enter_float_mode()\n"
        "    kernel(arrays, n, scalars)\n"
        "    leave_float_mode(caller)",
    ]
    for rule in rules_of(parse_functions(source)):
        parts.append(f'cdef const fastopt_rule *{rule.name}_rule = rule_named("{rule.name}")')
        parts += [_function(rule, dtype, number) for number, dtype in enumerate(C_TYPE)]
    return "\n\n".join(parts) + "\n"


def _scalars(rule: Function) -> tuple[str, ...]:
    return SHARED_SCALARS + rule.own_scalars


def _decays(rule: Function) -> bool:
    return len(rule.variants) > 2


def _struct(rule: Function, dtype: str) -> str:
    return f"{rule.name}_scalars_{dtype}"


def _signature(rule: Function, dtype: str) -> str:
    c_type = C_TYPE[dtype]
    arrays = [f"{'const ' if array not in rule.written else ''}{c_type} *{array}" for array in rule.arrays]
    # `n` and `scalars` may be names of arrays (adan's n), so these parameters end with an underscore.
    parameters = ", ".join([*arrays, "Py_ssize_t n_", f"const {_struct(rule, dtype)} *scalars_"])
    return f"cdef void {rule.name}_{dtype}({parameters}) noexcept nogil"


def _function(rule: Function, dtype: str, number: int) -> str:
    """Return the function of one compute type, whose index in `fastopt_storage` is known."""
    variant = "(scalars_.weight_decay != 0)" + (" + 2 * (scalars_.decay != 0)" if _decays(rule) else "")
    assignments = "".join(f"    arrays_[{i}] = <void *>{array}\n" for i, array in enumerate(rule.arrays))
    return (
        f"{_signature(rule, dtype)}:\n"
        f"    cdef void *arrays_[{len(rule.arrays)}]\n{assignments}"
        f"    run({rule.name}_rule.kernels[{number}][{variant}], arrays_, n_, scalars_)"
    )
