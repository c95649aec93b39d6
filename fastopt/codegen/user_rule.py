"""Checks a user's function and converts it to a rule without literals for the compilers.

With literals, Numba would compute a float32 update in float64: each literal becomes a scalar, which the engine rounds
to the compute type like all others. The arithmetic is otherwise unchanged.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any, NamedTuple

from fastopt import primitives
from fastopt.common.messages import brief, shortened

from .parse import PRIMITIVES, SHARED_SCALARS, VARIANTS

#: Names that a rule can't have: those of functions compiled with it.
COMPILED_WITH_IT = {name for variant in VARIANTS for name in variant}

#: Names that its scalars can't have: other parameters of calls and optimizers.
TAKEN = (
    "backend", "ema_decay", "grad_scale", "hyperparameters", "master_weights", "mu_product", "names", "num_threads",
    "params", "self", "state_dtype", "stochastic_rounding", "stream",
)  # fmt: skip

#: Names that kernels use besides primitives and their constants: a scalar with such a name is renamed in the text.
CALLED = ("chunk", "cuda", "gradient", "index", "min", "none", "range", "single", "unroll", "zero")

#: Names that a rule's arrays can't have, because the text of a kernel uses them.
BESIDE = (*SHARED_SCALARS, "gradient", "range")

#: Names that its state can't have, because optimizers use them.
KEPT = ("ema", "master")

#: The range of nonzero literals: float32 must be able to represent them.
SMALLEST, LARGEST = 2.0**-126, 2.0**128 * (1 - 2.0**-24)

#: The maximum numbers of arrays of a kernel and of a rule's arguments besides the shared scalars: Python passes more
#: than 30 arguments as a list, which Numba can't inline.
MOST_ARRAYS, MOST_ARGUMENTS = 8, 30 - len(SHARED_SCALARS)

#: Limits for a statement, which is parsed recursively: its depth, and its size with squares as products.
DEEPEST, MOST_PARTS = 100, 10_000

#: The nodes that a rule may contain: arithmetic, conditional expressions and assignments.
ALLOWED = (
    ast.Assign, ast.AugAssign, ast.Return, ast.Expr, ast.Name, ast.Load, ast.Store, ast.Call, ast.Constant,
    ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.BoolOp, ast.And, ast.Or, ast.Not, ast.Add, ast.Sub, ast.Mult,
    ast.Div, ast.USub, ast.UAdd, ast.Lt, ast.Gt, ast.LtE, ast.GtE, ast.Eq, ast.NotEq,
)  # fmt: skip

#: The end of messages about reserved names
OTHER_NAMES = f"expected other names than own_..., literal_..., __..., ..._ and {', '.join(PRIMITIVES)}"

#: Names of unsupported statements in messages, with replacements
INSTEAD = {
    ast.If: "an if statement; expected a choice between values: a if condition else b",
    ast.For: "a loop; expected the arithmetic of one element",
    ast.While: "a loop; expected the arithmetic of one element",
    ast.Subscript: "an index; expected the arithmetic of one element",
    ast.Pow: "a power; expected products and sqrt (x**2 is the only power)",
    ast.FloorDiv: "a floor division; expected + - * /",
    ast.Mod: "a remainder; expected + - * /",
    ast.Tuple: "a tuple where a single value is expected",
}


class RuleError(ValueError):
    """A function is not a valid rule; the message gives the line and the reason."""


class UserRule(NamedTuple):
    """A user's rule in the form of `fastopt/rules/update.py`."""

    name: str
    arrays: tuple[str, ...]
    #: The scalars as written by the user, and their names in the text.
    scalars: dict[str, str]
    #: The values of literals by their scalars' names in the text.
    literals: dict[str, float]
    #: Defaults of the scalars; `inspect.Parameter.empty` if there is none.
    defaults: dict[str, Any]
    text: str
    #: Its file and line.
    where: str


def read_rule(function: Callable[..., Any], functions: dict[Any, str]) -> UserRule:
    """Check a function, and return it as a rule.

    ``functions`` maps objects that a user may call to the names of primitives.
    """
    if not isinstance(function, FunctionType) or hasattr(function, "__wrapped__"):
        raise RuleError(f"a rule is {brief(function)}; expected a function made by def, without another decorator")
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError, SyntaxError) as error:
        raise RuleError(
            f"the source of {brief(function)} can't be read; expected a function in a file, or a notebook"
        ) from error
    source = "".join(lines)
    where = f"{inspect.getsourcefile(function)}, line "
    try:
        node = ast.parse(source).body[0] if not source[:1].isspace() else _indented(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # It may be part of a statement (a lambda, for example), or code that Python can compile but not parse.
        raise RuleError(
            f"{where}{first}: rule {function.__name__!r} can't be parsed by itself ({shortened(str(error))}); "
            f"expected a function made by def"
        ) from error
    if not isinstance(node, ast.FunctionDef):
        raise RuleError(f"{where}{first}: a rule is {type(node).__name__}; expected a function made by def")
    return _Reader(node, function, functions, where, first).read()


def _indented(source: str) -> ast.stmt:
    """Parse an indented function in place: a comment or docstring in it may be indented less."""
    block = ast.parse(f"if True:\n{source}").body[0]
    assert isinstance(block, ast.If)
    return ast.increment_lineno(block.body[0], -1)


def _is_reserved(name: str) -> bool:
    return name in PRIMITIVES or name.startswith(("own_", "literal_", "__")) or name.endswith("_")


def _text(node: ast.AST) -> str:
    """Return the source text of a node, shortened."""
    try:
        return shortened(ast.unparse(node))
    except ValueError:  # an f-string, or a number of thousands of digits
        return type(node).__name__


def _fits(target: ast.expr, value: ast.expr) -> bool:
    """Return whether each name is assigned one value."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return len(target.elts) == len(value.elts) and all(map(_fits, target.elts, value.elts))
    return not isinstance(target, ast.Tuple) and not isinstance(value, ast.Tuple)


class _Reader(ast.NodeTransformer):
    """Parses one function, and replaces its literals and shared names."""

    def __init__(
        self, node: ast.FunctionDef, function: FunctionType, functions: dict[Any, str], where: str, first: int
    ):
        self.node = node
        self.function = function
        self.functions = functions
        self.where, self.first = where, first
        self.literals: dict[str, float] = {}
        self.arrays = tuple(argument.arg for argument in node.args.posonlyargs)
        scalars = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
        self.scalars = {name: f"own_{name}" if name in SHARED_SCALARS + CALLED else name for name in scalars}
        self.known = {*self.arrays, *self.scalars}
        self.most_scalars = MOST_ARGUMENTS - len(self.arrays)
        #: Names that are conditions
        self.conditions: set[str] = set()

    def refuse(self, node: ast.AST, what: str) -> RuleError:
        line = self.first + getattr(node, "lineno", 1) - 1
        return RuleError(f"{self.where}{line}: rule {self.node.name!r} has {what}")

    def read(self) -> UserRule:
        self.check_signature()
        self.check_size()
        body = self.node.body
        if ast.get_docstring(self.node) is not None:
            body = body[1:]
        statements = [self.visit(statement) for statement in body]
        self.check_return(statements)
        text = "\n".join(ast.unparse(ast.fix_missing_locations(statement)) for statement in statements)
        names = ", ".join([*self.arrays, "/", *self.scalars.values(), *self.literals])
        text = f"def {self.node.name}({names}):\n{textwrap.indent(text, '    ')}\n"
        where = f"{self.where}{self.first}"
        return UserRule(self.node.name, self.arrays, self.scalars, self.literals, self.defaults(), text, where)

    def check_signature(self) -> None:
        arguments = self.node.args
        if self.arrays[:2] != ("param", "grad"):
            raise self.refuse(
                self.node,
                f"the arrays {', '.join(self.arrays) or '(none)'}; expected param, grad and state, followed by a /",
            )
        if arguments.vararg or arguments.kwarg:
            raise self.refuse(self.node, "a variable number of arguments; expected each argument by name")
        if len(arguments.defaults) > len(arguments.args):
            raise self.refuse(self.node, "an array with a default; expected none before the /")
        if len(self.arrays) > MOST_ARRAYS:
            raise self.refuse(self.node, f"{len(self.arrays)} arrays; expected at most {MOST_ARRAYS}")
        if len(self.scalars) > self.most_scalars:
            raise self.refuse(self.node, f"{len(self.scalars)} scalars; expected at most {self.most_scalars}")
        if self.node.name in COMPILED_WITH_IT:
            raise self.refuse(self.node, "the name of a function that is compiled with it; expected another one")
        reserved = [name for name in (*self.arrays, *self.scalars) if _is_reserved(name)]
        for kind, names, refused, why in (
            ("argument", reserved, reserved, f"; {OTHER_NAMES}"),
            ("scalar", self.scalars, TAKEN, ", which calls take already; expected another name"),
            ("state", self.arrays, KEPT, ", which optimizers keep themselves; expected others"),
            ("state", self.arrays, BESIDE, ", a name that kernels use themselves; expected another one"),
        ):
            if odd := [name for name in names if name in refused]:
                raise self.refuse(self.node, f"the {kind} {odd[0]}{why}")

    def check_size(self) -> None:
        """Raise for a statement that is too large, without recursion."""
        for statement in self.node.body:
            parts = 0
            todo: list[tuple[int, int, ast.AST]] = [(0, 1, statement)]
            while todo:
                depth, copies, node = todo.pop()
                parts += copies
                if depth > DEEPEST or parts > MOST_PARTS:
                    raise self.refuse(statement, "a statement that is too large; expected several statements")
                if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
                    copies *= 2
                todo += [(depth + 1, copies, child) for child in ast.iter_child_nodes(node)]

    def defaults(self) -> dict[str, Any]:
        parameters = inspect.signature(self.function).parameters.values()
        return {each.name: each.default for each in parameters if each.name in self.scalars}

    def check_return(self, statements: list[ast.stmt]) -> None:
        expected = [name for name in self.arrays if name != "grad"]
        last = statements[-1] if statements else self.node
        if not isinstance(last, ast.Return) or last.value is None:
            raise self.refuse(last, f"no return statement at its end; expected it to return {', '.join(expected)}")
        several = isinstance(last.value, ast.Tuple)
        returned = len(last.value.elts) if isinstance(last.value, ast.Tuple) else 1
        if returned != len(expected) or several != (len(expected) > 1):
            values = f"{returned} value{'s' * (returned != 1)}{' in a tuple' * several}"
            raise self.refuse(last, f"a return of {values}; expected {len(expected)}: {', '.join(expected)}")

    # ---- Nodes

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for kind, message in INSTEAD.items():
            if isinstance(node, kind):
                raise self.refuse(node, message)
        if not isinstance(node, ALLOWED):
            raise self.refuse(node, f"{type(node).__name__}: {_text(node)}; expected arithmetic of its arguments")
        if isinstance(node, ast.Expr):
            raise self.refuse(node, f"an unused value: {_text(node)}")
        return super().generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        for target in node.targets:
            if not _fits(target, node.value):
                raise self.refuse(node, f"{_text(node)}; expected as many values as names")
        value = self.values(node.value)
        conditions = self.conditions_of(node.value)
        targets = [self.target(target, conditions) for target in node.targets]
        return ast.copy_location(ast.Assign(targets, value), node)

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if node is not self.node.body[-1]:
            raise self.refuse(node, "a return before its end; expected one, at the end")
        value = node.value
        if isinstance(value, ast.Tuple):
            value = ast.copy_location(ast.Tuple([self.number(each) for each in value.elts], ast.Load()), value)
        elif value is not None:
            value = self.number(value)
        return ast.copy_location(ast.Return(value), node)

    def values(self, node: ast.expr) -> ast.expr:
        """Convert an assigned value, or a tuple of values."""
        if isinstance(node, ast.Tuple):
            return ast.copy_location(ast.Tuple([self.values(each) for each in node.elts], ast.Load()), node)
        value: ast.expr = self.visit(node)
        return value

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        read = ast.copy_location(ast.Name(getattr(node.target, "id", ""), ast.Load()), node)
        if not isinstance(node.target, ast.Name):
            raise self.refuse(node, f"an assignment to {_text(node.target)}; expected a name")
        value = ast.copy_location(ast.BinOp(read, node.op, node.value), node)
        return self.visit_Assign(ast.copy_location(ast.Assign([node.target], value), node))

    def target(self, node: ast.expr, conditions: Any) -> ast.expr:
        """Convert a target, or a tuple of targets; ``conditions`` tells for each value whether it is a condition."""
        if isinstance(node, ast.Tuple):
            elements = [self.target(*each) for each in zip(node.elts, conditions, strict=True)]
            return ast.copy_location(ast.Tuple(elements, ast.Store()), node)
        if not isinstance(node, ast.Name):
            raise self.refuse(node, f"an assignment to {_text(node)}; expected a name")
        if node.id == "grad":
            raise self.refuse(node, "an assignment to grad, which is only read; expected another name")
        if node.id in self.scalars:
            raise self.refuse(
                node, f"an assignment to {node.id}, which is the same for all elements; expected another name"
            )
        if _is_reserved(node.id):
            raise self.refuse(node, f"an assignment to {node.id}; {OTHER_NAMES}")
        self.known.add(node.id)
        (self.conditions.add if conditions else self.conditions.discard)(node.id)
        return node

    # ---- Numbers and conditions, which compilers convert to each other in different ways

    def is_condition(self, node: ast.expr) -> bool:
        """Return whether a value is a condition, as opposed to a number."""
        if isinstance(node, ast.IfExp):
            return self.is_condition(node.body)
        is_not = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        return is_not or isinstance(node, (ast.Compare, ast.BoolOp)) or getattr(node, "id", None) in self.conditions

    def conditions_of(self, node: ast.expr) -> Any:
        """Return the same for each value in a tuple."""
        if isinstance(node, ast.Tuple):
            return [self.conditions_of(each) for each in node.elts]
        return self.is_condition(node)

    def number(self, node: ast.expr) -> ast.expr:
        """Convert a value that must be a number."""
        if self.is_condition(node):
            raise self.refuse(node, f"a condition, {_text(node)}; expected a number: 1.0 if ... else 0.0, say")
        value: ast.expr = self.visit(node)
        return value

    def condition(self, node: ast.expr) -> ast.expr:
        """Convert a value that must be a condition."""
        if not self.is_condition(node):
            raise self.refuse(node, f"a number, {_text(node)}; expected a condition: a comparison, say")
        value: ast.expr = self.visit(node)
        return value

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.check_operator(node, node.op, "-, + or not")
        if isinstance(node.op, (ast.USub, ast.UAdd)):
            return ast.copy_location(ast.UnaryOp(node.op, self.number(node.operand)), node)
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        for operator in node.ops:
            self.check_operator(node, operator, "< > <= >= == !=")
        for each in (node.left, *node.comparators):
            if self.is_condition(each):
                self.number(each)  # raises the error
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        return ast.copy_location(ast.BoolOp(node.op, [self.condition(each) for each in node.values]), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        chosen = self.condition if self.is_condition(node.body) else self.number
        test = self.visit(node.test)
        return ast.copy_location(ast.IfExp(test, chosen(node.body), chosen(node.orelse)), node)

    # ---- Names, operators, literals and calls

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id not in self.known:
            raise self.refuse(node, f"the name {node.id}, which is neither an argument nor assigned before")
        return ast.copy_location(ast.Name(self.scalars.get(node.id, node.id), node.ctx), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        raise self.refuse(node, f"{_text(node)}; expected names of arguments, and calls of {', '.join(PRIMITIVES)}")

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant) and node.right.value == 2:
            base = self.number(node.left)
            return ast.copy_location(ast.BinOp(base, ast.Mult(), base), node)
        for kind, message in INSTEAD.items():
            if isinstance(node.op, kind):
                raise self.refuse(node, message)
        self.check_operator(node, node.op, "+ - * /")
        return ast.copy_location(ast.BinOp(self.number(node.left), node.op, self.number(node.right)), node)

    def check_operator(self, node: ast.AST, operator: ast.AST, expected: str) -> None:
        """Raise for an operator that rules don't support; operators have no line numbers."""
        if not isinstance(operator, ALLOWED):
            raise self.refuse(node, f"{type(operator).__name__}: {_text(node)}; expected {expected}")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            raise self.refuse(node, f"the value {brief(node.value)}; expected numbers only")
        if node.value and not SMALLEST <= abs(node.value) <= LARGEST:
            raise self.refuse(
                node, f"the number {brief(node.value)}, which float32 can't represent; expected 1.2e-38 to 3.4e38"
            )
        value = float(node.value)
        name = next((each for each, known in self.literals.items() if known == value), f"literal_{len(self.literals)}")
        self.literals[name] = value
        most = self.most_scalars - len(self.scalars)
        if len(self.literals) > most:
            raise self.refuse(node, f"more than {most} numbers; expected no more beside {len(self.scalars)} scalars")
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = self.object_of(node.func)
        primitive = next((name for function, name in self.functions.items() if function is called), None)
        if primitive is None or node.keywords or len(node.args) != PRIMITIVES[primitive]:
            expected = ", ".join(f"{name}({', '.join('xy'[:count])})" for name, count in PRIMITIVES.items())
            raise self.refuse(node, f"a call of {_text(node)}; expected one of {expected}")
        arguments = [self.number(argument) for argument in node.args]
        return ast.copy_location(ast.Call(ast.Name(primitive, ast.Load()), arguments, []), node)

    def object_of(self, node: ast.expr) -> Any:
        """Return the object that a name or attribute refers to in the user's module; None for other expressions."""
        if isinstance(node, ast.Name):
            closure = zip(self.function.__code__.co_freevars, self.function.__closure__ or (), strict=True)
            cell = next((cell for name, cell in closure if name == node.id), None)
            if cell is not None:
                return next(iter(_contents(cell)), None)
            known = {**vars(builtins), **self.function.__globals__}
            return known.get(node.id, getattr(primitives, node.id, None) if node.id in PRIMITIVES else None)
        if isinstance(node, ast.Attribute):
            try:
                return getattr(self.object_of(node.value), node.attr, None)
            except Exception:  # raised by the user's code, or a warning turned into an error
                return None
        return None


def _contents(cell: CellType) -> tuple[Any, ...]:
    """Return the value of a variable of an enclosing function; None if it has no value yet."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()
