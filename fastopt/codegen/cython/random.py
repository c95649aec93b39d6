"""Generates the Cython module with all random rules' kernels for one compute type."""

from __future__ import annotations

from fastopt.specs.random import BITS

from ..parse import Function
from ..random import OUT, PRIMITIVES, random_rules_of
from .update import addresses, header, inline, run_kernel

TYPES = {"real": "real", "bits": "uint32_t"}

PREAMBLE = '''\
cdef extern from *:
    """
    #include "core/draw.c"
    typedef const uint32_t *__restrict bits_t;
    """
    ctypedef unsigned int uint32_t
    ctypedef const uint32_t *bits_t
    void draw_bits()

cdef extern from "random_primitives.h" nogil:
'''


def random_module(source: str, dtype: str) -> str:
    """Return the text of a Cython module with the kernels of the functions in ``source`` for this compute type."""
    rules = random_rules_of(source, dtype)
    declared = "".join(
        f'    real {name} "{name}_{dtype}" ({", ".join(TYPES[each] for each in taken)})\n'
        for name, taken in PRIMITIVES.items()
    )
    parts = [header("fastopt/rules/random.py", "fastopt/codegen/cython/random.py", dtype), PREAMBLE + declared]
    for rule in rules.values():
        parts += [inline(rule, bits=BITS), _kernel(rule)]
    parts += [addresses((name, [f"{name}_kernel"]) for name in rules), "draw = <size_t>&draw_bits"]
    return "\n\n".join(parts) + "\n"


def _kernel(rule: Function) -> str:
    runs = {OUT: "run_t", **{name: "bits_t" if name in BITS else "run_t" for name in rule.arrays}}
    elements = ", ".join([*(f"{name}[i_]" for name in rule.arrays), *rule.scalars])
    return run_kernel(f"{rule.name}_kernel", runs, rule.scalars, f"{OUT}[i_] = {rule.name}({elements})")
