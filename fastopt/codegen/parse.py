"""Reads rules from their source text: what is an array, what a coefficient, and the body, verbatim."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

#: The functions of fastopt/primitives.py, with the number of their arguments.
PRIMITIVES = {"fabs": 1, "gate": 2, "relu": 1, "sign": 1, "sqrt": 1}

#: What stands before a rule's own scalars in the array of scalars that a kernel takes.
SHARED_SCALARS = ("grad_scale", "weight_decay", "decay")

#: The variants in which a rule is compiled: where its gradient comes from, and how it descends. A variant's position is
#: 1 for coupled weight decay, plus 2 for decoupled.
VARIANTS = (
    ("gradient", "descend"),
    ("decayed_gradient", "descend"),
    ("gradient", "decayed_descend"),
    ("decayed_gradient", "decayed_descend"),
)


@dataclass(frozen=True)
class Function:
    """A scalar function in the text: a rule if it has arrays, else one that a kernel calls for its gradient."""

    name: str
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    locals: tuple[str, ...]
    body: str

    @property
    def written(self) -> tuple[str, ...]:
        """The arrays that the rule returns: all but grad."""
        return tuple(name for name in self.arrays if name != "grad")

    @property
    def own_scalars(self) -> tuple[str, ...]:
        """The scalars that it does not share with every rule."""
        return tuple(name for name in self.scalars if name not in SHARED_SCALARS)

    @property
    def variants(self) -> tuple[tuple[str, str], ...]:
        """The variants that make a difference: a rule that does not descend with decay has the first two only."""
        return VARIANTS if "decay" in self.scalars else VARIANTS[:2]

    def call(self, *elements: str) -> str:
        """Return its call with these elements, as both compilers write it: scalars are variables of their own names."""
        return f"{self.name}({', '.join([*elements, *self.scalars])})"


def source_of(rule: Callable[..., object]) -> str:
    """Return the source text that has the rule and the functions of its variants."""
    own: str | None = getattr(rule, "rule_source", None)  # a user's
    if own is None:
        return inspect.getsource(sys.modules[rule.__module__])
    from fastopt.rules import update as rules

    return f"{inspect.getsource(rules)}\n\n{own}"


def parse_functions(source: str) -> dict[str, Function]:
    """Return every function of a rules file, in the order of the file."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return {node.name: _function(node, source) for node in functions}


def rules_of(functions: dict[str, Function]) -> list[Function]:
    """Return the functions that are rules: those with arrays before a slash."""
    return [function for function in functions.values() if function.arrays]


def _function(node: ast.FunctionDef, source: str) -> Function:
    parameters = [argument.arg for argument in node.args.posonlyargs + node.args.args]
    stored = {
        name.id: None for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    lines = source.splitlines()[node.body[0].lineno - 1 : node.end_lineno]
    return Function(
        name=node.name,
        arrays=tuple(argument.arg for argument in node.args.posonlyargs),
        scalars=tuple(argument.arg for argument in node.args.args),
        locals=tuple(name for name in stored if name not in parameters),
        body=textwrap.dedent("\n".join(lines)),
    )
