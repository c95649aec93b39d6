"""Users' updates: equal to the library's own; invalid ones are refused with the line."""

from __future__ import annotations

import functools
import importlib.util
import math
import re
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt.codegen.parse import PRIMITIVES
from fastopt.extending import FUNCTIONS
from fastopt.optim import Adam
from tests import every_function
from tests.support import run_python


@fastopt.rule
def plain_adam(param, grad, m, v, /, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam without correction of its averages, as one writes it."""
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * grad**2
    return param - lr * m / (np.sqrt(v) + eps), m, v


def corrected(step, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    return {
        "step_size": lr / (1 - beta1**step), "beta1": beta1, "beta2": beta2,
        "correction": 1 / math.sqrt(1 - beta2**step), "eps": eps,
    }  # fmt: skip


@fastopt.rule(prepare=corrected)
def own_adam(param, grad, m, v, /, step_size, beta1, beta2, correction, eps):
    m = beta1 * m + (1 - beta1) * grad
    v = beta2 * v + (1 - beta2) * (grad * grad)
    return param - step_size * m / (math.sqrt(v) * correction + eps), m, v


@fastopt.rule
def of_everything(param, grad, state, /, lr=0.1, weight_decay=0.25, floor=1):
    size = abs(grad) if abs(grad) > floor else 0.5 * floor
    size += 2
    state, other = -state + size, fastopt.primitives.sign(grad)
    state *= 1.0 if grad > 0 and not grad > 2 else 3
    return param - lr * (other / state + weight_decay * param), state


@fastopt.rule
def changes_step_by_step(param, grad, /, lr):
    change = grad
    change -= 3
    change /= 2 * lr
    change *= lr
    param += change
    return param


def arrays(names, shape=(1000,), dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    made = {name: np.array(rng.standard_normal(shape)).astype(dtype) for name in names}
    return made | ({"v": np.abs(made["v"])} if "v" in made else {})


@pytest.mark.parametrize(
    "rule", [plain_adam, own_adam, of_everything, changes_step_by_step], ids=lambda rule: rule.name
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-5), (np.float64, 1e-15), (ml_dtypes.bfloat16, 1e-2)])
def test_a_rule_computes_what_its_python_does(rule, dtype, tolerance):
    given = {"lr": 0.1, "weight_decay": 0.125, "grad_scale": -0.5} | ({"step": 3} if rule is own_adam else {})
    got, wanted = arrays(rule.arrays, dtype=dtype), arrays(rule.arrays, dtype=dtype)
    rule(*got.values(), **given)
    rule.reference(*wanted.values(), **given)
    assert not np.array_equal(got["param"], arrays(rule.arrays, dtype=dtype)["param"])
    for name in rule.arrays:
        near = tolerance * np.maximum(1, np.abs(wanted[name].astype(np.float64)))
        assert np.all(np.abs(got[name].astype(np.float64) - wanted[name].astype(np.float64)) <= near), name


def test_a_rule_like_the_librarys_does_the_same():
    ours, theirs = arrays(own_adam.arrays), arrays(own_adam.arrays)
    own_adam(*ours.values(), step=5, lr=0.01, weight_decay=0.1)
    fastopt.adam(*theirs.values(), step=5, lr=0.01, weight_decay=0.1)
    for name in ours:  # here 1 - beta2 is computed in float32, and off by 1e-5 of itself
        np.testing.assert_allclose(ours[name], theirs[name], rtol=3e-5, atol=1e-6)


def test_literals_are_rounded_to_the_type_that_is_computed_in():
    @fastopt.rule
    def tenth(param, grad, /):
        return param - 0.1 * grad

    param = np.zeros(3, np.float32)
    tenth(param, np.ones(3, np.float32))
    assert np.all(param == -np.float32(0.1))
    assert "float64" not in tenth._read.text


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", [None, "numba", "reference"])
def test_every_function_computes_what_numpy_does(backend, dtype):
    assert {f"{name}_of" for name in PRIMITIVES} == set(every_function.of_every_function.arrays[2:])
    every_function.check(dtype, backend)


def test_every_function_is_the_same_from_the_cache(tmp_path):
    program = """
import sys
import numpy as np
from tests import every_function
for dtype in (np.float32, np.float64):
    every_function.check(dtype)
print("numba" in sys.modules)
"""
    for imported in (True, False):
        assert run_python(program, FASTOPT_CACHE_DIR=str(tmp_path)) == f"{imported}\n"


def module_in(folder, text):
    """A module with a rule, in a file of its own; its first lines import what rules may call."""
    path = folder / f"rules_{len(list(folder.iterdir()))}.py"
    path.write_text(f"import math, numpy as np, fastopt\nfrom fastopt.extending import rule\n{text}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_functions_are_those_of_fastopt_math_and_numpy(tmp_path):
    """By each name that the docs have, and by that alone where nothing else has it."""
    read = module_in(
        tmp_path,
        """
@rule
def by_all_names(param, grad, m, /):
    size = abs(grad) + fabs(grad) + math.fabs(grad) + np.abs(grad) + np.absolute(grad) + np.fabs(grad)
    root = sqrt(size) + math.sqrt(size) + np.sqrt(size) + fastopt.primitives.sqrt(size)
    signs = sign(grad) + np.sign(grad) + fastopt.primitives.sign(grad)
    return size + root, signs + relu(grad) + gate(param, grad)
""",
    ).by_all_names
    assert set(FUNCTIONS.values()) == set(PRIMITIVES)
    grad = np.array([-4.0, 0.0, 2.0])
    for backend in (None, "reference"):
        param, m = np.array([3.0, 4.0, 5.0]), np.zeros(3)
        read(param, grad, m, backend=backend)
        np.testing.assert_allclose(param, 6 * abs(grad) + 4 * np.sqrt(6 * abs(grad)), rtol=1e-15)
        assert m.tolist() == [-3.0, 0.0, 3.0 + 2.0 + 5.0]


def test_optimizers_hold_its_state():
    ours, theirs = [arrays(["p"], (50,))["p"] for _ in range(2)]
    optimizer, other = own_adam.optimizer([ours], lr=0.01, ema_decay=0.9), Adam([theirs], lr=0.01)
    for step in range(5):
        grad = arrays(["g"], (50,), seed=step)["g"]
        optimizer.step([grad], max_norm=1.0)
        other.step([grad], max_norm=1.0)
    np.testing.assert_allclose(ours, theirs, rtol=3e-5, atol=1e-6)
    assert list(optimizer.state[0]) == ["m", "v", "ema"]
    optimizer.groups[0].lr = 0.5
    assert optimizer.groups[0].hyperparameters["lr"] == 0.5


def test_the_tuple_of_a_prepare_is_in_order():
    @fastopt.rule(prepare=lambda lr: (lr, 2 * lr))
    def twice(param, grad, /, small, large):
        return param - (large - small) * grad

    param = np.zeros(2)
    twice(param, np.ones(2), lr=0.5)
    assert param.tolist() == [-0.5, -0.5]


def test_scalars_by_keyword_only_and_tuples_in_tuples():
    @fastopt.rule
    def nested(param, grad, /, lr, *, keep=0.5):
        first, (second, third) = grad, (lr * grad, keep)
        return third * param - first - second

    param = np.ones(2)
    nested(param, np.array([1.0, 2.0]), lr=0.25)
    assert param.tolist() == [-0.75, -2.0]
    nested(param, np.array([1.0, 2.0]), lr=0.0, keep=1.0)
    assert param.tolist() == [-1.75, -4.0]
    assert nested.hyperparameters == ("lr", "keep", "weight_decay", "grad_scale")


def test_prepare_names_its_arguments():
    for prepare in (lambda *lr: lr, lambda lr, **more: {"size": lr}):
        with pytest.raises(ValueError, match=r"prepare takes \*+\w+; expected each hyperparameter by its name"):
            fastopt.rule(prepare=prepare)(wrong)


def test_calls_are_checked_as_the_librarys_are():
    param, grad, m, v = arrays(plain_adam.arrays).values()
    before = param.copy()
    for error, match, call in (
        (TypeError, "plain_adam needs lr, which has no default", lambda: plain_adam(param, grad, m, v)),
        (TypeError, "plain_adam has no hyperparameter 'rate'; expected lr, beta1", lambda: plain_adam(
            param, grad, m, v, lr=0.1, rate=1.0)),
        (ValueError, "3 arrays given; expected 4: param, grad, m, v", lambda: plain_adam(param, grad, m, lr=0.1)),
        (ValueError, "v has shape", lambda: plain_adam(param, grad, m, v[:3], lr=0.1)),
        (ValueError, "overlaps", lambda: plain_adam(param, grad, m, m, lr=0.1)),
        (ValueError, "lr is nan; expected a finite number", lambda: plain_adam(param, grad, m, v, lr=math.nan)),
        (TypeError, "lr is 'a', a str", lambda: plain_adam(param, grad, m, v, lr="a")),
        (ValueError, "not in the build", lambda: plain_adam(param, grad, m, v, lr=0.1, backend="cython")),
        (ValueError, "prepare of wrong gives nothing; expected size", lambda: fastopt.rule(
            prepare=lambda lr: {"nothing": lr})(wrong)(param, grad, lr=0.1)),
        (ValueError, "prepare of wrong gives size, more; expected size", lambda: fastopt.rule(
            prepare=lambda lr: {"size": lr, "more": lr})(wrong)(param, grad, lr=0.1)),
        (ValueError, "prepare of wrong gives none; expected size", lambda: fastopt.rule(
            prepare=lambda lr: (lr, lr))(wrong)(param, grad, lr=0.1)),
        (ValueError, "weight_decay is -0.1; expected a finite number, 0 or more", lambda: plain_adam(
            param, grad, m, v, lr=0.1, weight_decay=-0.1)),
    ):  # fmt: skip
        with pytest.raises(error, match=match):
            call()
    assert np.array_equal(param, before)


def wrong(param, grad, /, size):
    return param - size * grad


FACTOR = 2.0


def too_few(param, grad, m, /, lr):
    return param - lr * grad


def foreign_name(param, grad, /, lr):
    change = lr * FACTOR
    return param - change


def text(param, grad, /, lr):
    return param - (lr if lr == "large" else grad)


def writes_grad(param, grad, /, lr):
    grad = lr * grad
    return param - grad


def writes_a_scalar(param, grad, /, lr):
    lr = 2 * lr
    return param - lr * grad


def branches(param, grad, /, lr):
    if grad > lr:
        lr = grad
    return param - lr


def loops(param, grad, /, lr):
    for _ in range(3):
        param = param - lr * grad
    return param


def indexes(param, grad, /, lr):
    return param - lr * grad[0]


def powers(param, grad, /, lr):
    return param - lr * grad**3


def calls(param, grad, /, lr):
    return param - lr * math.exp(grad)


def calls_with_too_much(param, grad, /, lr):
    return param - lr * math.sqrt(grad, 2)


def no_slash(param, grad, lr):
    return param - lr * grad


def other_names(weight, gradient, /, lr):
    return weight - lr * gradient


def no_return(param, grad, /, lr):
    param = param - lr * grad


def returns_early(param, grad, /, lr):
    return param
    return param - lr * grad


def any_number(param, grad, /, *scalars):
    return param


def reserved(param, grad, /, literal_0):
    return param - literal_0 * grad


def attribute(param, grad, /, lr):
    return param - lr * math.pi


def compares_to_true(param, grad, /, lr):
    return param if True else grad


def gradient(param, grad, /, lr):
    return param - lr * grad


def assigns_a_literal(param, grad, /, lr):
    literal_0 = grad
    return param - 0.5 * lr * literal_0


def assigns_a_primitive(param, grad, /, lr):
    sign = 1.0 if grad > 0 else 0.0
    return param - lr * sign * np.sign(grad)


def scales(param, grad, /, lr, grad_scale):
    return param - lr * grad_scale * grad


def calls_its_own_sign():
    def sign(x):
        return 100.0

    def calls_a_closure(param, grad, /, lr):
        return param - lr * sign(grad)

    return calls_a_closure


def indented_with_text_at_the_left():
    def commented(param, grad, /, lr):
        """Text.
        at the left.
        """
        return param - lr * grad**3

    return commented


TABLE: list[float] = []


def returns_a_tuple_of_one(param, grad, /, lr):
    return (param - lr * grad,)


def returns_a_tuple_in_a_tuple(param, grad, m, /, lr):
    return param - lr * grad, (m, m)


def unpacks_a_number(param, grad, /, lr):
    a, _ = grad
    return param - lr * a


def names_two_values(param, grad, /, lr):
    a = grad, lr
    return param - a


def calls_a_list(param, grad, /, lr):
    return param - TABLE(grad)


def vanishing_number(param, grad, /, lr):
    return param - lr * grad / (1e-40 * 1e30)


def endless_number(param, grad, /, lr):
    return param - lr * grad / 1e39


def unpacks_too_much_within(param, grad, /, lr):
    a, (b, c) = grad, (lr, lr, lr)
    return param - a * b * c


def reads_what_it_assigns(param, grad, /, lr):
    change = change + lr * grad  # noqa: F821
    return param - change


def keeps_an_average(param, grad, ema, /, lr):
    return param - lr * grad, ema


def array_with_a_default(param, grad, m=0.0, /, lr=0.1):
    return param - lr * grad, m


def any_number_by_name(param, grad, /, **scalars):
    return param


def fewer_names_than_values(param, grad, /, lr):
    a, b = grad, lr, 2.0
    return param - a * b


def more_names_than_values(param, grad, /, lr):
    a, b, c = grad, lr
    return param - a * b * c


def calls_by_keyword(param, grad, /, lr):
    return param - lr * fastopt.primitives.sign(x=grad)


def calls_by_keyword_too(param, grad, /, lr):
    return param - lr * np.sqrt(grad, where=lr)


def calls_with_a_star(param, grad, /, lr):
    return param - lr * fastopt.primitives.gate(*grad)


def too_many_arrays(param, grad, a, b, c, d, e, f, g, /):
    return param, a, b, c, d, e, f, g


def keeps_a_shared_scalar(param, grad, decay, /, lr):
    return param - lr * grad, decay


def returns_a_condition(param, grad, /, lr):
    param = grad > lr
    return param


def keeps_a_loop(param, grad, range, /, lr):
    return param - lr * grad, range


BAD = {
    array_with_a_default: (0, "an array with a default; expected none before the /"),
    any_number_by_name: (0, "a variable number of arguments; expected each argument by name"),
    fewer_names_than_values: (1, "a, b = (grad, lr, 2.0); expected as many values as names"),
    more_names_than_values: (1, "a, b, c = (grad, lr); expected as many values as names"),
    calls_by_keyword: (1, "a call of fastopt.primitives.sign(x=grad); expected one of"),
    calls_by_keyword_too: (1, "a call of np.sqrt(grad, where=lr); expected one of"),
    calls_with_a_star: (1, "a call of fastopt.primitives.gate(*grad); expected one of"),
    too_many_arrays: (0, "9 arrays; expected at most 8"),
    keeps_a_shared_scalar: (0, "the state decay, a name that kernels use themselves"),
    returns_a_condition: (2, "a condition, param; expected a number"),
    keeps_a_loop: (0, "the state range, a name that kernels use themselves"),
    returns_a_tuple_of_one: (1, "a return of 1 value in a tuple; expected 1: param"),
    returns_a_tuple_in_a_tuple: (1, "a tuple where a single value is expected"),
    unpacks_a_number: (1, "a, _ = grad; expected as many values as names"),
    names_two_values: (1, "a = (grad, lr); expected as many values as names"),
    unpacks_too_much_within: (1, "a, (b, c) = (grad, (lr, lr, lr)); expected as many values as names"),
    reads_what_it_assigns: (1, "the name change, which is neither an argument nor assigned before"),
    calls_a_list: (1, "a call of TABLE(grad); expected one of"),
    vanishing_number: (1, "the number 1e-40, which float32 can't represent"),
    endless_number: (1, "the number 1e+39, which float32 can't represent"),
    keeps_an_average: (0, "the state ema, which optimizers keep themselves"),
    gradient: (0, "the name of a function that is compiled with it"),
    assigns_a_literal: (1, "an assignment to literal_0; expected other names"),
    assigns_a_primitive: (1, "an assignment to sign; expected other names"),
    scales: (0, "the scalar grad_scale, which calls take already"),
    calls_its_own_sign(): (1, "a call of sign(grad); expected one of"),
    indented_with_text_at_the_left(): (4, "a power; expected products and sqrt"),
    too_few: (1, "a return of 1 value; expected 2: param, m"),
    foreign_name: (1, "the name FACTOR, which is neither an argument"),
    text: (1, "the value 'large'; expected numbers only"),
    writes_grad: (1, "an assignment to grad, which is only read"),
    writes_a_scalar: (1, "an assignment to lr, which is the same for all elements"),
    branches: (1, "an if statement; expected a choice between values: a if condition else b"),
    loops: (1, "a loop; expected the arithmetic of one element"),
    indexes: (1, "an index; expected the arithmetic of one element"),
    powers: (1, "a power; expected products and sqrt"),
    calls: (1, "a call of math.exp(grad); expected one of fabs(x), gate(x, y)"),
    calls_with_too_much: (1, "a call of math.sqrt(grad, 2); expected one of"),
    no_slash: (0, "the arrays (none); expected param, grad and state, followed by a /"),
    other_names: (0, "the arrays weight, gradient; expected param, grad"),
    no_return: (1, "no return statement at its end; expected it to return param"),
    returns_early: (1, "a return before its end"),
    any_number: (0, "a variable number of arguments"),
    reserved: (0, "the argument literal_0; expected other names"),
    attribute: (1, "math.pi; expected names of arguments"),
    compares_to_true: (1, "the value True; expected numbers only"),
}


@pytest.mark.parametrize("function", BAD, ids=lambda function: function.__name__)
def test_what_is_no_rule_is_refused_by_its_line(function: Callable[..., object]):
    behind, message = BAD[function]
    line = function.__code__.co_firstlineno + behind
    with pytest.raises(
        ValueError, match=re.escape(f"test_rule.py, line {line}: rule {function.__name__!r} has {message}")
    ):
        fastopt.rule(function)


#: Of the second line of a rule: what it says, and what is said of it.
MALFORMED = {
    f"x = {' + '.join(['grad'] * 2000)}": "a statement that is too large; expected several statements",
    f"x = {'-' * 300}grad": "a statement that is too large",
    f"x = {'(' * 60}grad{')**2' * 60}": "a statement that is too large",
    f"x = {' < '.join(['grad'] * 4000)}": "a statement that is too large",
    f"x = {' if grad else '.join(['grad'] * 500)}": "a statement that is too large",
    f"x = 0x{'f' * 5000}": "the number a whole number of 20000 bits, which float32 can't represent",
    f"x = grad ** 0x{'f' * 5000}": "a power; expected products and sqrt",
    f"x = grad[0x{'f' * 5000}]": "an index; expected the arithmetic of one element",
    f"x = {'9' * 4000}": "the number a whole number of 13288 bits, which",
    f"x = {'9' * 5000}.0": "the number inf, which float32 can't represent",
    f"x = '{'a' * 9000}'": "the value 'aaaa",
    "x = 1j": "the value 1j; expected numbers only",
    "x = b'1'": "the value b'1'; expected numbers only",
    "x = ...": "the value Ellipsis; expected numbers only",
    "x = None": "the value None; expected numbers only",
    "x = (lambda: (lambda: grad)())()": "a call of (lambda: (lambda: grad)())(); expected one of",
    "x = lambda y: y": "Lambda: lambda y: y; expected arithmetic of its arguments",
    "x = f'{grad!r:>{10}}'": "JoinedStr: ",
    "x = (y := grad)": "NamedExpr: (y := grad)",
    "x = [grad]": "List: [grad]",
    f"x = [0x{'f' * 5000}]": "List: List; expected arithmetic of its arguments",
    "x = [y for y in grad]": "ListComp: ",
    "x = grad.real": "grad.real; expected names of arguments, and calls of",
    "x = math.nothing(grad)": "a call of math.nothing(grad); expected one of",
    "x = ODD.nothing(grad)": "a call of ODD.nothing(grad); expected one of",
    "x = ODD(grad)": "a call of ODD(grad); expected one of",
    "x = PAIR(grad)": "a call of PAIR(grad); expected one of",
    "x = NAME(grad)": "a call of NAME(grad); expected one of",
    "x = later(grad)": "a call of later(grad); expected one of",
    "x = grad @ lr": "MatMult: grad @ lr; expected + - * /",
    "x = grad << 1": "LShift: grad << 1; expected + - * /",
    "x = ~grad": "Invert: ~grad; expected -, + or not",
    "x = grad is lr": "Is: grad is lr; expected < > <= >= == !=",
    "x = grad in (1, 2)": "In: grad in (1, 2); expected <",
    "x = (grad > 0) + 1": "a condition, grad > 0; expected a number",
    "x = -(grad > 0)": "a condition, grad > 0; expected a number",
    "x = abs(not grad)": "a condition, not grad; expected a number",
    "x = (grad > 0) < 1": "a condition, grad > 0; expected a number",
    "x = (grad > 0 if lr else grad < 1) + 1": "a condition, grad > 0 if lr else grad < 1; expected a number",
    "x = (grad > 0)**2": "a condition, grad > 0; expected a number",
    "x = grad and lr": "a number, grad; expected a condition",
    "x = lr if grad else grad > 0": "a condition, grad > 0; expected a number",
    "x = grad > 0 if grad else lr": "a number, lr; expected a condition",
    "x, y = grad > 0, grad; x, y = y, x; x = x + y": "a condition, y; expected a number",
    "a, *b = grad, lr": "an assignment to *b; expected a name",
    "[a, b] = grad, lr": "[a, b] = (grad, lr); expected as many values as names",
    "param.x = grad": "an assignment to param.x; expected a name",
    "x: float = grad": "AnnAssign: x: float = grad",
    "__x = grad": "an assignment to __x; expected other names",
    "x_ = grad": "an assignment to x_; expected other names",
    "x += 1": "the name x, which is neither an argument nor assigned before",
    "param **= 3": "a power; expected products and sqrt",
    "param //= 3": "a floor division; expected + - * /",
    "del grad": "Delete: del grad",
    "global G": "Global: global G",
    "import os": "Import: import os",
    "assert grad": "Assert: assert grad",
    "pass": "Pass: pass",
    "x = yield grad": "Yield: (yield grad)",
    "def inner(x): return x": "FunctionDef: def inner(x):",
    "with grad: pass": "With: with grad:",
    "grad + 1": "an unused value: grad + 1",
    "x = " + " + ".join(f"{i}.5" for i in range(29)): "more than 24 numbers; expected no more beside 1 scalars",
}


@pytest.mark.parametrize("statement", MALFORMED, ids=lambda statement: statement[:30])
def test_whatever_a_line_says_is_refused_by_its_line(statement, tmp_path):
    module = module_in(
        tmp_path,
        f"""
class Odd:
    def __getattr__(self, name):
        raise RuntimeError(name)
    def __eq__(self, other):
        raise RuntimeError(other)
ODD, PAIR, NAME = Odd(), (1, [2]), "sqrt"
def outer():
    def f(param, grad, /, lr=0.1):
        {statement}
        return param - lr * grad
    line = f.__code__.co_firstlineno
    yield f
    later = abs
f = next(outer())
""",
    )
    line = module.f.__code__.co_firstlineno + 1
    match = re.escape(f"{module.__name__}.py, line {line}: rule 'f' has {MALFORMED[statement]}")
    with pytest.raises(ValueError, match=match) as caught:
        fastopt.rule(module.f)
    assert len(str(caught.value)) < 400 + len(module.__file__)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("async def f(param, grad, /): return param", 3, "a rule is AsyncFunctionDef; expected a function"),
        ("if True:\n  f = (lambda param, grad, /:\n    param)", 4, "a rule is Assign; expected a function"),
        ("f = [(lambda param, grad, /: param),\n1][0]", 3, "a rule is Assign; expected a function"),
        ("class A:\n  f = dict(a=1,\n    b=lambda param, grad, /: param)['b']", 5, "rule '<lambda>' can't be parsed"),
        ("def abs(x): return x\ndef f(param, grad, /): return abs(grad)", 4, "rule 'f' has a call of abs(grad)"),
        ("def f(param, grad, /): pass", 3, "rule 'f' has Pass"),
        ("def f(param, grad, /): 'text'", 3, "rule 'f' has no return statement at its end"),
        ("def f(param, grad, /, __x): return param", 3, "rule 'f' has the argument __x; expected other names"),
        *((f"def f(param, grad, /, {name}): return param", 3, f"rule 'f' has the scalar {name}, which calls take") for
          name in ("backend", "ema_decay", "hyperparameters", "master_weights", "mu_product", "names", "num_threads",
                   "params", "self", "state_dtype", "stochastic_rounding", "stream")),
        (f"def f(param, grad, /, {', '.join(f's{i}' for i in range(15))}): return param", 3,
         "rule 'f' has 17 hyperparameters, weight_decay and grad_scale among them; expected at most 16"),
        (f"def f(param, grad, /, {', '.join(f's{i}' for i in range(26))}): return param", 3,
         "rule 'f' has 26 scalars; expected at most 25"),
    ],
)  # fmt: skip
def test_whatever_a_function_is_is_refused_by_its_line(text, line, message, tmp_path):
    module = module_in(tmp_path, text)
    function = module.f if hasattr(module, "f") else module.A.f
    with pytest.raises(ValueError, match=re.escape(f"{module.__name__}.py, line {line}: {message}")):
        fastopt.rule(function)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (5, "prepare is 5; expected a function of the hyperparameters"),
        (lambda lr, *more: (lr,), r"prepare takes \*more; expected each hyperparameter by its name"),
        (lambda **more: (1.0,), r"prepare takes \*\*more; expected each hyperparameter by its name"),
        (lambda lr, /: (lr,), "prepare takes lr; expected each hyperparameter by its name"),
        (lambda stream: (stream,), "prepare takes stream, which calls take already; expected another name"),
    ],
)
def test_a_prepare_of_other_arguments_is_refused(prepare, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        fastopt.rule(prepare=prepare)(wrong)


def test_names_of_other_languages_are_as_good_as_any(tmp_path):
    """Keywords of C, types of Numba, letters of other alphabets, and what kernels themselves call."""
    read = module_in(
        tmp_path,
        """
@rule
def restrict(param, grad, double, /, int, float32=0.5, *, index=1.5, min=2.0, gradient=3.0, zero=4.0, β=0.25):
    void, 名 = grad * int, grad > zero or not gradient < β < 2.0
    range = float32 if 名 else min
    return param - void * range, index * double
""",
    ).restrict
    got, wanted = arrays(read.arrays, dtype=np.float64), arrays(read.arrays, dtype=np.float64)
    for array, each in zip((*got.values(), *wanted.values()), [8.0] * 6, strict=True):
        array[::3] *= each
    read(*got.values(), int=0.5)
    read.reference(*wanted.values(), int=0.5)
    for name in got:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-15)
    assert len(set(np.round((got["param"] - arrays(["param"], dtype=np.float64)["param"]) / got["grad"], 3))) > 2


def test_the_largest_rules_compile(tmp_path):
    """With as many arrays, scalars, hyperparameters and numbers as there may be, and as deep a statement."""
    scalars, state = [f"s{i}" for i in range(14)], [f"m{i}" for i in range(6)]
    deep = f"{'(' * 90}grad{' + 1)' * 90}"
    read = module_in(
        tmp_path,
        f"""
@rule
def large(param, grad, {", ".join(state)}, /, {", ".join(f"{name}=0.5" for name in scalars)}):
    deep = {deep}
    return deep * ({" + ".join(scalars)}), 1.0 + 2.0 + 3.0 + 4.0 + 5.0, {", ".join(state[1:])}
@rule(prepare=lambda lr: (lr,) * 25)
def wide(param, grad, /, {", ".join(f"s{i}" for i in range(25))}):
    return param - grad * ({" + ".join(f"s{i}" for i in range(25))})
""",
    )
    given = [np.ones(3) for _ in read.large.arrays]
    read.large(*given)
    assert given[0].tolist() == [91 * 7.0] * 3
    assert given[2].tolist() == [15.0] * 3
    read.wide(given[0], given[1], lr=0.5)
    assert given[0].tolist() == [91 * 7.0 - 25 * 0.5] * 3


def test_a_scalar_of_a_rule_is_a_number_whatever_its_name():
    """Also one that is a flag of the library's optimizers."""

    @fastopt.rule
    def blended(param, grad, m, /, lr, nesterov=0.5):
        m = m + grad
        return param - lr * (nesterov * grad + (1.0 - nesterov) * m), m

    optimizer = blended.optimizer([np.zeros(2)], lr=1.0, nesterov=0.25)
    optimizer.groups[0].nesterov = 0.75
    assert optimizer.groups[0].nesterov == 0.75


def test_step_is_no_option_of_an_optimizer():
    """Optimizers count; a rule that has a step gets theirs."""
    param = np.ones(3)
    for rule in (own_adam, plain_adam):
        with pytest.raises(TypeError, match="step"):
            rule.optimizer([param], lr=0.1, step=3)
    with pytest.raises(TypeError, match="grad_scale"):
        plain_adam.optimizer([param], lr=0.1, grad_scale=2.0)
    with pytest.raises(TypeError, match="own_adam needs step, which has no default"):
        own_adam(param, *(np.ones(3) for _ in range(3)), lr=0.1)


def test_a_name_is_what_it_is_in_the_users_module(tmp_path, monkeypatch):
    """Of fastopt's functions, those that it does not know as something else."""
    (tmp_path / "with_names.py").write_text(
        "from math import sqrt\n\ndef sign(x):\n    return 100.0\n\n"
        "def good(param, grad, /):\n    return param - sqrt(fabs(grad))\n\n"
        "def bad(param, grad, /):\n    return param - sign(grad)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("with_names")
    param = np.ones(2)
    fastopt.rule(module.good)(param, np.array([4.0, -9.0]))
    assert param.tolist() == [-1.0, -2.0]
    with pytest.raises(ValueError, match=r"line 10: rule 'bad' has a call of sign\(grad\); expected one of"):
        fastopt.rule(module.bad)


def test_what_is_no_function_is_refused():
    with pytest.raises(ValueError, match=r"rule '<lambda>' can't be parsed|a rule is Expr; expected a function"):
        fastopt.rule(lambda param, grad, /: param)
    wrapped = functools.wraps(wrong)(lambda *arguments: wrong(*arguments))
    for other in (math.sqrt, 5, "text", functools.partial(wrong, size=1), functools.cache(wrong), Callable, wrapped):
        with pytest.raises(ValueError, match=r"^a rule is .*; expected a function made by def"):
            fastopt.rule(other)
    without_source = {}
    exec("def f(param, grad, /):\n    return param\n", without_source)
    with pytest.raises(ValueError, match=r"source of .* can't be read"):
        fastopt.rule(without_source["f"])


def test_importing_fastopt_imports_no_numba_and_another_process_finds_the_kernel(tmp_path):
    program = """
import sys
import numpy as np
import fastopt
fastopt.rule
assert "numba" not in sys.modules
sys.path.insert(0, sys.argv[1])
from mine import halve
param = np.ones(4, np.float32)
halve(param, param.copy())
assert param.tolist() == [0.5] * 4
print("numba" in sys.modules)
"""
    (tmp_path / "mine.py").write_text(
        "import fastopt\n\n@fastopt.rule\ndef halve(param, grad, /):\n    return param - 0.5 * grad\n"
    )
    for imported in (True, False):
        printed = run_python(program, str(tmp_path), FASTOPT_CACHE_DIR=str(tmp_path / "cache"))
        assert printed == f"{imported}\n"
        assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_reference_takes_one_shape():
    param, state = np.ones(3), np.zeros(2)
    with pytest.raises(ValueError, match=r"state has shape \(2,\); expected \(3,\), the shape of param"):
        of_everything.reference(param, np.ones(3), state)
    assert param.tolist() == [1.0, 1.0, 1.0]
