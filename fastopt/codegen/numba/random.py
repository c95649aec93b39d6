"""Generates the Python module from which Numba compiles one random rule's kernel for one compute type."""

from __future__ import annotations

import re

from fastopt.specs.random import BITS

from ..parse import Function
from ..random import OUT, random_rules_of

HEADER = '''\
"""Generated from fastopt/rules/random.py by fastopt/codegen/numba/random.py: change those, not this."""

from fastopt.backends.numba.compiler import carray, compiled, float32, float64, primitives, random_kernel_of, uint32

globals().update(primitives({dtype}))
'''


def random_module(source: str, name: str, dtype: str) -> str:
    """Return the text of a module with ``kernel``, which runs a rule."""
    rule = random_rules_of(source, dtype)[name]
    return "\n\n".join([HEADER.format(dtype=dtype), _loop(rule), _kernel(rule, dtype)])


def _loop(rule: Function) -> str:
    """Return the loop with the rule's body inlined: Python passes more than 30 arguments as a list."""
    scalars = [f"{name} = scalars_[{i}]" for i, name in enumerate(rule.scalars)]
    elements = [f"{name} = {name}_[i_]" for name in rule.arrays]
    body = re.sub(r"^return ", f"{OUT}[i_] = ", rule.body, flags=re.M).splitlines()
    return (
        f"@compiled\ndef run_({', '.join([OUT, *(f'{name}_' for name in rule.arrays), 'scalars_'])}):\n"
        + "".join(f"    {line}\n" for line in scalars)
        + f"    for i_ in range({OUT}.shape[0]):\n"
        + "".join(f"        {line}\n" for line in [*elements, *body])
    )


def _kernel(rule: Function, dtype: str) -> str:
    types = [dtype, *("uint32" if name in BITS else dtype for name in rule.arrays)]
    runs = [f"carray(arrays_[{i}], n_, {each})" for i, each in enumerate(types)]
    return f"@random_kernel_of({dtype})\ndef kernel(arrays_, n_, scalars_):\n    run_({', '.join(runs)}, scalars_)\n"
