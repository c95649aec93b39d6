"""The rules' text: no literals, no compiler-dependent constructs, float32 computed as float32."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest

from fastopt.codegen.cython.update import cython_module
from fastopt.codegen.numba.update import numba_module
from fastopt.codegen.parse import PRIMITIVES, VARIANTS, parse_functions, rules_of
from fastopt.rules import update as rules
from fastopt.specs.updates import variants_by_rule

SOURCE = inspect.getsource(rules)
FUNCTIONS = parse_functions(SOURCE)
RULES = [rule.name for rule in rules_of(FUNCTIONS)]

ALLOWED = (
    ast.FunctionDef, ast.arguments, ast.arg, ast.Assign, ast.Return, ast.Tuple, ast.Name, ast.Load, ast.Store, ast.Call,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.IfExp, ast.Compare, ast.Lt, ast.Gt, ast.Eq,
)  # fmt: skip


def offences(source: str, *own: str) -> list[str]:
    """What a rules file must not hold: literals above all, and calls but of primitives and its own functions."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    found = []
    for function in functions:
        for node in ast.walk(function):
            if not isinstance(node, ALLOWED):
                found.append(f"{function.name}: {type(node).__name__} {ast.unparse(node)}")
            elif isinstance(node, ast.Call) and getattr(node.func, "id", None) not in {*PRIMITIVES, *own}:
                found.append(f"{function.name}: call of {ast.unparse(node.func)}")
    return found


def test_rules_hold_no_literal_and_no_flag():
    assert offences(SOURCE, "descend") == []


@pytest.mark.parametrize(
    "body", ["param - 1.0 * grad", "param - 1 * grad", "param ** grad", "max(param, grad)", "param if True else grad"]
)
def test_a_literal_would_be_found(body):
    assert offences(f"def bad(param, grad, /, lr):\n    return {body}\n")


@pytest.mark.parametrize("name", RULES)
def test_a_rule_returns_what_its_signature_says(name):
    rule = FUNCTIONS[name]
    function = getattr(rules, name)
    assert rule.arrays[0] == ("acc" if name.startswith("accumulate") else "param")
    assert rule.arrays[1] == "grad"
    returned = function(*(float(i + 1) for i in range(len(rule.arrays + rule.scalars))))
    assert len(np.atleast_1d(returned)) == len(rule.written)


def test_every_rule_is_used_and_every_update_has_its_scalars():
    served = variants_by_rule()
    assert list(served) == RULES
    for name, variants in served.items():
        for _, _, update in variants:
            assert update.arrays == FUNCTIONS[name].arrays


@pytest.mark.ci
@pytest.mark.parametrize("name", RULES)
def test_float32_is_computed_in_float32(name):
    """No double in the machine-independent code of a float32 kernel: it would be slower, and round differently."""
    variant = FUNCTIONS[name].variants[-1]  # the one with all the arithmetic
    assert not doubles_in(numba_module(SOURCE, name, variant, "float32"))


def test_a_literal_would_make_it_float64():
    text = numba_module(SOURCE, "sgd", VARIANTS[0], "float32")
    assert doubles_in(text.replace("param - lr * grad", "param - 1.0 * lr * grad"))


def doubles_in(text: str) -> list[str]:
    """The lines with a double of the LLVM code that Numba makes of a kernel's text."""
    names = {"__name__": "no_file"}  # code from the cache can't be inspected
    exec(compile(text, "<no file>", "exec"), names)
    return [line for line in names["kernel"].inspect_llvm().splitlines() if "double" in line]


def test_generated_text_is_headed_by_its_source_and_holds_each_body_verbatim():
    for dtype in ("float32", "float64"):
        text = cython_module(SOURCE, dtype)
        assert text.startswith("# Generated from fastopt/rules/update.py")
        for function in FUNCTIONS.values():
            for line in function.body.splitlines():
                assert line.strip() in text


def test_sign_passes_zero_and_nan_on():
    assert (rules.sign(-2.0), rules.sign(3.0), rules.sign(0.0)) == (-1.0, 1.0, 0.0)
    assert np.isnan(rules.sign(float("nan")))
