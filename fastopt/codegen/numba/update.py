"""Generates the Python module from which Numba compiles one rule's kernel for one compute type."""

from __future__ import annotations

import textwrap

from ..parse import PRIMITIVES, SHARED_SCALARS, Function, parse_functions

HEADER = f'''\
"""Generated from fastopt/rules/update.py by fastopt/codegen/numba/update.py: change those, not this."""

from fastopt.backends.numba.compiler import carray, compiled, inlined, kernel_of, {", ".join(PRIMITIVES)}
'''


def numba_module(source: str, rule: str, variant: tuple[str, str], dtype: str) -> str:
    """Return the text of a module with ``kernel``, which runs ``rule`` in one of its variants."""
    functions = parse_functions(source)
    gradient, descent = (functions[name] for name in variant)
    parts = [HEADER, inlined("gradient", gradient), inlined("descend", descent), inlined("rule_", functions[rule])]
    return "\n\n".join([*parts, loop(functions[rule]), _kernel(functions[rule], dtype)])


def inlined(name: str, function: Function) -> str:
    """Return the function with its body verbatim."""
    return f"@inlined\ndef {name}({_names(*function.arrays, *function.scalars)}):\n{_indent(function.body)}\n"


def loop(rule: Function, ndim: int = 1, convert: str = "") -> str:
    """Return the loop over all elements, which ``convert`` converts to the compute type.

    Its own names end in an underscore, unlike all names of rules.
    """
    axes = range(ndim)
    at = _names(*(f"i{axis}_" for axis in axes)) or "()"
    elements = {name: f"{convert}({name}[{at}])" if convert else f"{name}[{at}]" for name in rule.arrays}
    elements["grad"] = f"gradient({elements[rule.arrays[0]]}, {elements['grad']}, grad_scale, weight_decay)"
    results = _names(*(f"{name}[{at}]" for name in rule.written))
    over = [f"{'    ' * (axis + 1)}for i{axis}_ in range({rule.arrays[0]}.shape[{axis}]):\n" for axis in axes]
    return (
        f"@compiled\ndef run_({_names(*rule.arrays, *SHARED_SCALARS, *rule.own_scalars)}):\n{''.join(over)}"
        f"{'    ' * (ndim + 1)}{results} = rule_({_names(*elements.values(), *rule.scalars)})\n"
    )


def _kernel(rule: Function, dtype: str) -> str:
    """Return the function that the engine calls, with named arrays: Numba does not vectorise over unpacked tuples."""
    runs = (f"carray(arrays_[{i}], n_)" for i in range(len(rule.arrays)))
    scalars = (f"scalars_[{i}]" for i in range(len(SHARED_SCALARS + rule.own_scalars)))
    return f"@kernel_of({dtype!r})\ndef kernel(arrays_, n_, scalars_):\n    run_({_names(*runs, *scalars)})\n"


def _names(*names: str) -> str:
    return ", ".join(names)


def _indent(text: str) -> str:
    return textwrap.indent(text, "    ")
