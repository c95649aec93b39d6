"""Generates the device functions that users' CUDA kernels call: a rule for one element.

Operators are replaced by calls of operations with separate rounding, because Numba's launches contract a * b + c.
"""

from __future__ import annotations

import ast

from ..numba.calls import ORIGIN, variants
from ..numba.update import inlined
from ..parse import SHARED_SCALARS, parse_functions

HEADER = ORIGIN.format("rules/update").replace("numba/calls", "cuda/elements")

OPERATORS: dict[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}


def element_module(source: str, rule: str) -> str:
    """Return the text of a module with a function of the rule's name, of one element per array and the coefficients."""
    functions = parse_functions(source)
    function = functions[rule]
    values = {name: name for name in function.arrays}
    values["grad"] = f"gradient({function.arrays[0]}, grad, grad_scale, weight_decay)"
    text = (
        f"@inlined\ndef {rule}({', '.join(function.arrays)}, scalars_):\n"
        f"    {', '.join(SHARED_SCALARS + function.own_scalars)} = scalars_\n"
        f"    return rule_({', '.join([*values.values(), *function.scalars])})\n"
    )
    tree = _Calls().visit(ast.parse("\n\n".join([*variants(functions), inlined("rule_", function), text])))
    return f"{HEADER}\n\n{ast.unparse(ast.fix_missing_locations(tree))}\n"


class _Calls(ast.NodeTransformer):
    """Replaces operators by calls."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        name = OPERATORS.get(type(node.op))
        return ast.Call(ast.Name(name, ast.Load()), [node.left, node.right], []) if name else node
