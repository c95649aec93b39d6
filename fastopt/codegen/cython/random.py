"""Writes the Cython module that holds every random rule's kernel for one compute type."""

from __future__ import annotations

from fastopt.specs.random import BITS

from ..parse import Function
from ..random import OUT, PRIMITIVES, random_rules_of
from .update import addresses, header, inline

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
    """Return the text of a Cython module with the kernels of those functions in ``source`` that are for the type."""
    rules = random_rules_of(source, dtype)
    declared = "".join(
        f'    real {name} "{name}_{dtype}" ({", ".join(TYPES[each] for each in taken)})\n'
        for name, taken in PRIMITIVES.items()
    )
    parts = [header("fastopt/rules/random.py", "fastopt/codegen/cython/random.py", dtype), PREAMBLE + declared]
    for rule in rules.values():
        parts += [inline(rule, **dict.fromkeys(BITS, "uint32_t")), _kernel(rule)]
    parts += [addresses((name, [f"{name}_kernel"]) for name in rules), "draw = <size_t>&draw_bits"]
    return "\n\n".join(parts) + "\n"


def _kernel(rule: Function) -> str:
    """The loop over one contiguous run."""
    runs = ["run_t", *("bits_t" if name in BITS else "run_t" for name in rule.arrays)]
    names = [OUT, *rule.arrays]
    elements = ", ".join([*(f"{name}[i_]" for name in rule.arrays), *rule.scalars])
    given = [f"<{run}>arrays[{i}]" for i, run in enumerate(runs)]
    given += [f"scalars[{i}]" for i in range(len(rule.scalars))]
    return (
        f"cdef inline void {rule.name}_loop(Py_ssize_t n_, "
        f"{', '.join(f'{run} {name}' for run, name in zip(runs, names, strict=True))}, "
        f"{', '.join(f'real {name}' for name in rule.scalars)}) noexcept nogil:\n"
        f"    cdef Py_ssize_t i_\n"
        f"    for i_ in range(n_):\n"
        f"        {OUT}[i_] = {rule.name}({elements})\n\n"
        f"cdef void {rule.name}_kernel(void **arrays, Py_ssize_t n, const real *scalars) noexcept nogil:\n"
        f"    {rule.name}_loop(n, {', '.join(given)})"
    )
