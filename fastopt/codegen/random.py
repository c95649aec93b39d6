"""The random kernels: the functions of rules/random.py for each compute type, and their parameters."""

from __future__ import annotations

from dataclasses import replace

from fastopt.specs.random import RANDOM

from .parse import Function, parse_functions

#: The functions of fastopt/rules/random_primitives.py, and whether they take a number, bits, or one of each.
PRIMITIVES = {
    "exponent": ("real",), "low31": ("bits",), "mantissa": ("real",), "other31": ("bits",), "signed": ("real", "bits"),
    "top21": ("bits",), "top24": ("bits",), "top26": ("bits",), "top27": ("bits",),
}  # fmt: skip

#: The kernel's name of the array that it writes, which comes first; then the arrays that it reads, then the bits.
OUT = "out_"


def random_rules_of(source: str, dtype: str) -> dict[str, Function]:
    """Return the rules for a compute type."""
    functions = parse_functions(source)
    rules = {}
    for spec in RANDOM:
        rule, name = functions[spec.functions[dtype]], spec.kernel(dtype)
        if spec.element:
            arrays = (spec.element, *(each for each in rule.arrays if each != spec.element))
            scalars = tuple(each for each in rule.scalars if each != spec.element)
            rule = replace(rule, name=name, arrays=arrays, scalars=scalars)
        rules[name] = rule
    return rules
