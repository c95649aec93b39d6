"""Generates the Cython module with every rule's kernel for one compute type."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..parse import PRIMITIVES, SHARED_SCALARS, VARIANTS, Function, parse_functions, rules_of

C_TYPE = {"float32": "float", "float64": "double"}

HEADER = """\
# Generated from {source} by {writer}: change those, not this.
# cython: language_level=3, cdivision=True

ctypedef {c_type} real

# Without restrict, gcc does not vectorise loops over six arrays (more than ten alias checks). It applies
# restrict only to parameters, so each loop is a function of its own.
cdef extern from *:
    \"\"\"
    typedef {c_type} real_t;
    typedef {c_type} *__restrict run_t;
    typedef double *__restrict sums_t;
    \"\"\"
    ctypedef real *run_t
    ctypedef double *sums_t

cdef extern from *:
    \"\"\"
    #define COMPUTE_FLOAT64 {is_float64}
    #include "core/codecs.c"
    \"\"\"
    ctypedef struct codec_t:
        pass
    const codec_t codec_table[]
    ctypedef struct summing_t:
        pass
    const summing_t summing_table

cdef extern from "primitives.h" nogil:
"""


def header(source: str, writer: str, dtype: str) -> str:
    """Return the beginning of a module with kernels of one compute type: types, codecs and primitives."""
    text = HEADER.format(source=source, writer=writer, c_type=C_TYPE[dtype], is_float64=int(dtype == "float64"))
    return text + "".join(
        f'    real {name} "{name}_{dtype}" ({", ".join(["real"] * count)})\n' for name, count in PRIMITIVES.items()
    )


def inline(
    function: Function, called: str = "", *, returned: int = 1, real: str = "real", bits: Sequence[str] = ()
) -> str:
    """Return the function as typed Cython code with its body verbatim; names that are not ``bits`` are real numbers."""
    names = function.arrays + function.scalars
    parameters = ", ".join(f"{'uint32_t' if name in bits else real} {name}" for name in names)
    results = f"({', '.join([real] * returned)})" if returned > 1 else real
    declared = f"    cdef {real} {', '.join(function.locals)}\n" if function.locals else ""
    body = textwrap.indent(function.body, "    ")
    return f"cdef inline {results} {called or function.name}({parameters}) noexcept nogil:\n{declared}{body}"


def addresses(kernels: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return the table that a module exports: each kernel's name and the addresses of its C functions."""
    pointers = {name: " ".join(f"<size_t>&{function}," for function in functions) for name, functions in kernels}
    rows = "".join(f'    "{name}": ({listed}),\n' for name, listed in pointers.items())
    return f"addresses = {{\n{rows}}}"


def cython_module(source: str, dtype: str) -> str:
    """Return the text of a Cython module with the kernels of all rules in ``source``."""
    functions = parse_functions(source)
    rules = rules_of(functions)
    parts = [header("fastopt/rules/update.py", "fastopt/codegen/cython/update.py", dtype)]
    parts += [inline(functions[name]) for name in dict.fromkeys(name for variant in VARIANTS for name in variant)]
    for rule in rules:
        parts += [_inline(rule, descent) for descent in dict.fromkeys(descent for _, descent in rule.variants)]
        parts += [_kernel(rule, *variant) for variant in rule.variants]
    parts.append(addresses((rule.name, [f"{_name(rule, *each)}_kernel" for each in rule.variants]) for rule in rules))
    parts.append("codecs = <size_t>&codec_table[0]\n\nsumming = <size_t>&summing_table")
    return "\n\n".join(parts) + "\n"


def _name(rule: Function, *variant: str) -> str:
    """Return the name of a rule's function or kernel in one of its variants, which no argument of a rule has."""
    return "_".join([rule.name, *(part for part in variant if part.startswith("decayed")), "rule"])


def _inline(rule: Function, descent: str) -> str:
    """Return the text of the rule in a variant: it calls that variant's descent."""
    body = re.sub(r"\bdescend\(", f"{descent}(", rule.body)
    return inline(replace(rule, body=body), _name(rule, descent), returned=len(rule.written))


def _kernel(rule: Function, gradient: str, descent: str) -> str:
    elements = {array: f"{array}[i_]" for array in rule.arrays}
    elements["grad"] = f"{gradient}({rule.arrays[0]}[i_], grad[i_], grad_scale, weight_decay)"
    results = ", ".join(f"{array}[i_]" for array in rule.written)
    return run_kernel(
        f"{_name(rule, gradient, descent)}_kernel", dict.fromkeys(rule.arrays, "run_t"),
        SHARED_SCALARS + rule.own_scalars,
        f"{results} = {_name(rule, descent)}({', '.join([*elements.values(), *rule.scalars])})",
    )  # fmt: skip


def run_kernel(name: str, runs: Mapping[str, str], scalars: Sequence[str], element: str) -> str:
    """Return a kernel with its loop over one contiguous run of each array, with pointers of these types.

    ``element`` is the loop's statement for i_. The loop's own names end in an underscore, unlike all names of rules.
    """
    declared = [*(f"{run} {array}" for array, run in runs.items()), *(f"real {scalar}" for scalar in scalars)]
    given = [f"<{run}>arrays[{i}]" for i, run in enumerate(runs.values())]
    given += [f"scalars[{i}]" for i, _ in enumerate(scalars)]
    return (
        f"cdef inline void {name}_loop(Py_ssize_t n_, {', '.join(declared)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_\n"
        f"    for i_ in range(n_):\n"
        f"        {element}\n\n"
        f"cdef void {name}(void **arrays, Py_ssize_t n, const real *scalars) noexcept nogil:\n"
        f"    {name}_loop(n, {', '.join(given)})"
    )
