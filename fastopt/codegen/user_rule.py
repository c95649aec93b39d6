"""From a function that a user wrote to a rule as the compilers read it: checked, and without literals.

A literal would make Numba compute a float32 update in float64: each becomes a scalar, which the engine rounds to the
compute type as it does with all others. Nothing else of the arithmetic changes.
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

#: Names that a rule can't have: those of the functions that are compiled with it.
COMPILED_WITH_IT = {name for variant in VARIANTS for name in variant}

#: Names that its scalars can't have: of what a call or an optimizer takes beside them.
TAKEN = (
    "backend", "ema_decay", "grad_scale", "hyperparameters", "master_weights", "mu_product", "names", "num_threads",
    "params", "self", "state_dtype", "stochastic_rounding", "stream",
)  # fmt: skip

#: What kernels call beside primitives, and their constants: scalars with such a name have another one in the text.
CALLED = ("chunk", "cuda", "gradient", "index", "min", "none", "range", "single", "unroll", "zero")

#: Names that a rule's arrays can't have, because the text of a kernel uses them.
BESIDE = (*SHARED_SCALARS, "gradient", "range")

#: Names that its state can't have: what optimizers keep beside it.
KEPT = ("ema", "master")

#: What a number may be, so that float32 holds it: 0, or in this range.
SMALLEST, LARGEST = 2.0**-126, 2.0**128 * (1 - 2.0**-24)

#: How many arrays a kernel takes, and how many arguments a rule, beside the shared scalars: for a call with more than
#: 30, Python makes a list first, which Numba can't inline.
MOST_ARRAYS, MOST_ARGUMENTS = 8, 30 - len(SHARED_SCALARS)

#: How deep a statement may be, for it is read by recursion, and of how many parts, squares written out as products.
DEEPEST, MOST_PARTS = 100, 10_000

#: What stands in a rule: arithmetic, choices between values, and names for them.
ALLOWED = (
    ast.Assign, ast.AugAssign, ast.Return, ast.Expr, ast.Name, ast.Load, ast.Store, ast.Call, ast.Constant,
    ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare, ast.BoolOp, ast.And, ast.Or, ast.Not, ast.Add, ast.Sub, ast.Mult,
    ast.Div, ast.USub, ast.UAdd, ast.Lt, ast.Gt, ast.LtE, ast.GtE, ast.Eq, ast.NotEq,
)  # fmt: skip

#: What is said of a name that the text of a rule needs for itself.
OTHER_NAMES = f"expected other names than own_..., literal_..., __..., ..._ and {', '.join(PRIMITIVES)}"

#: What a statement is called in a message, and what to write in its place.
INSTEAD = {
    ast.If: "an if statement; expected a choice between values: a if condition else b",
    ast.For: "a loop; expected the arithmetic of one element",
    ast.While: "a loop; expected the arithmetic of one element",
    ast.Subscript: "an index; expected the arithmetic of one element",
    ast.Pow: "a power; expected products and sqrt (x**2 is the only power)",
    ast.FloorDiv: "a floor division; expected + - * /",
    ast.Mod: "a remainder; expected + - * /",
    ast.Tuple: "several values where one is expected",
}


class RuleError(ValueError):
    """A function is no rule: says which line, and why."""


class UserRule(NamedTuple):
    """A user's rule in the form of `fastopt/rules/update.py`."""

    name: str
    arrays: tuple[str, ...]
    #: The scalars that its author wrote, and the names that they have in the text.
    scalars: dict[str, str]
    #: The values of the scalars that were literals, by the names that they have in the text.
    literals: dict[str, float]
    #: Of the scalars; `inspect.Parameter.empty` where there is none.
    defaults: dict[str, Any]
    text: str
    #: Its file, and its line there.
    where: str


def read_rule(function: Callable[..., Any], functions: dict[Any, str]) -> UserRule:
    """Check a function, and return it as a rule.

    ``functions`` has the names of primitives by the objects that a user may call for them.
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
        # Part of a statement, say, where a lambda stands; or what Python could compile, but not read.
        raise RuleError(
            f"{where}{first}: rule {function.__name__!r} can't be parsed by itself ({shortened(str(error))}); "
            f"expected a function made by def"
        ) from error
    if not isinstance(node, ast.FunctionDef):
        raise RuleError(f"{where}{first}: a rule is {type(node).__name__}; expected a function made by def")
    return _Reader(node, function, functions, where, first).read()


def _indented(source: str) -> ast.stmt:
    """Parse an indented function where it stands: a comment or a docstring in it may begin further to the left."""
    block = ast.parse(f"if True:\n{source}").body[0]
    assert isinstance(block, ast.If)
    return ast.increment_lineno(block.body[0], -1)


def _is_reserved(name: str) -> bool:
    return name in PRIMITIVES or name.startswith(("own_", "literal_", "__")) or name.endswith("_")


def _text(node: ast.AST) -> str:
    """Return the text of a node, shortened."""
    try:
        return shortened(ast.unparse(node))
    except ValueError:  # of an f-string, or a number of thousands of digits
        return type(node).__name__


def _fits(target: ast.expr, value: ast.expr) -> bool:
    """Whether each name gets one value."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return len(target.elts) == len(value.elts) and all(map(_fits, target.elts, value.elts))
    return not isinstance(target, ast.Tuple) and not isinstance(value, ast.Tuple)


class _Reader(ast.NodeTransformer):
    """Reads one function; its literals and shared names are replaced on the way."""

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
        #: The names of conditions.
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
            raise self.refuse(self.node, "arguments of any number; expected each by its name")
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
        """Raise for a statement that is too large to be read, without recursion."""
        for statement in self.node.body:
            parts = 0
            todo: list[tuple[int, int, ast.AST]] = [(0, 1, statement)]
            while todo:
                depth, copies, node = todo.pop()
                parts += copies
                if depth > DEEPEST or parts > MOST_PARTS:
                    raise self.refuse(statement, "a statement that is too large; expected parts of it to have names")
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
            raise self.refuse(last, f"no return at its end; expected it to return {', '.join(expected)}")
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
            raise self.refuse(node, f"a value that nothing is done with: {_text(node)}")
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
        """What is assigned: one value, or a tuple of such."""
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
        """What is assigned to: a name, or a tuple of such; ``conditions`` says of each value whether it is one."""
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

    # ---- Numbers and conditions, which compilers convert into each other, each in its own way

    def is_condition(self, node: ast.expr) -> bool:
        """Whether a value is true or false, not a number."""
        if isinstance(node, ast.IfExp):
            return self.is_condition(node.body)
        is_not = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        return is_not or isinstance(node, (ast.Compare, ast.BoolOp)) or getattr(node, "id", None) in self.conditions

    def conditions_of(self, node: ast.expr) -> Any:
        """The same of each value in a tuple."""
        if isinstance(node, ast.Tuple):
            return [self.conditions_of(each) for each in node.elts]
        return self.is_condition(node)

    def number(self, node: ast.expr) -> ast.expr:
        """A value that is a number."""
        if self.is_condition(node):
            raise self.refuse(node, f"a condition, {_text(node)}; expected a number: 1.0 if ... else 0.0, say")
        value: ast.expr = self.visit(node)
        return value

    def condition(self, node: ast.expr) -> ast.expr:
        """A value that is true or false."""
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
                self.number(each)  # raises what is wrong
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
            raise self.refuse(node, f"the name {node.id}, which is no argument and was not assigned before")
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
        """Raise for one that rules have not: operators do not know their lines."""
        if not isinstance(operator, ALLOWED):
            raise self.refuse(node, f"{type(operator).__name__}: {_text(node)}; expected {expected}")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            raise self.refuse(node, f"the value {brief(node.value)}; expected numbers only")
        if node.value and not SMALLEST <= abs(node.value) <= LARGEST:
            raise self.refuse(
                node, f"the number {brief(node.value)}, which float32 does not hold; expected 1.2e-38 to 3.4e38"
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
        """What a called name or attribute means in the user's module; None for anything else."""
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
            except Exception:  # of the user's own, or a warning that is one
                return None
        return None


def _contents(cell: CellType) -> tuple[Any, ...]:
    """What a variable of an outer function is; nothing before it has a value."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()
