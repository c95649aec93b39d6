"""Parses rules from their source text: arrays, coefficients, and the body, verbatim."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

#: The functions of fastopt/primitives.py with their numbers of arguments
PRIMITIVES = {"fabs": 1, "gate": 2, "relu": 1, "sign": 1, "sqrt": 1}

#: The scalars that precede a rule's own in the array of scalars of a kernel
SHARED_SCALARS = ("grad_scale", "weight_decay", "decay")

#: The variants of a rule: the functions for its gradient and its descent. A variant's index is 1 for coupled weight
#: decay, plus 2 for decoupled weight decay.
VARIANTS = (
    ("gradient", "descend"),
    ("decayed_gradient", "descend"),
    ("gradient", "decayed_descend"),
    ("decayed_gradient", "decayed_descend"),
)


@dataclass(frozen=True)
class Function:
    """A parsed scalar function: a rule if it has arrays, otherwise a function that a kernel calls for its gradient."""

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
        """The scalars that are not shared by all rules."""
        return tuple(name for name in self.scalars if name not in SHARED_SCALARS)

    @property
    def variants(self) -> tuple[tuple[str, str], ...]:
        """The distinct variants: a rule that does not use decoupled decay has only the first two."""
        return VARIANTS if "decay" in self.scalars else VARIANTS[:2]

    def call(self, *elements: str) -> str:
        """Return its call with these elements, as text for both compilers: scalars are variables of the same names."""
        return f"{self.name}({', '.join([*elements, *self.scalars])})"


def source_of(rule: Callable[..., object]) -> str:
    """Return the source text that defines the rule and the functions of its variants."""
    own: str | None = getattr(rule, "rule_source", None)  # a user's rule
    if own is None:
        return inspect.getsource(sys.modules[rule.__module__])
    from fastopt.rules import update as rules

    return f"{inspect.getsource(rules)}\n\n{own}"


def parse_functions(source: str) -> dict[str, Function]:
    """Return all functions of a rules file, in order."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return {node.name: _function(node, source) for node in functions}


def rules_of(functions: dict[str, Function]) -> list[Function]:
    """Return the functions that are rules: those with positional-only arrays."""
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
