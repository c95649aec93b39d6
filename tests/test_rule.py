"""Updates that users write: as good as the library's own, and refused by line where they are none."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt.optim import Adam
from tests.support import LAYOUTS, assert_same_bits, cpus, run_python


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


def arrays(names, shape=(1000,), dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    made = {name: np.array(rng.standard_normal(shape)).astype(dtype) for name in names}
    return made | ({"v": np.abs(made["v"])} if "v" in made else {})


@pytest.mark.parametrize("rule", [plain_adam, own_adam, of_everything], ids=lambda rule: rule.name)
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


def test_layouts_and_threads_change_no_bit():
    shape = (37, 41, 30)
    wanted = arrays(plain_adam.arrays, shape)
    plain_adam(*wanted.values(), lr=0.1, num_threads=1)
    for layout in LAYOUTS:
        given = {name: layout(array) for name, array in arrays(plain_adam.arrays, shape).items()}
        with cpus(3):
            plain_adam(*given.values(), lr=0.1, num_threads=3)
        assert_same_bits(given, wanted, layout.__name__)


def test_literals_are_rounded_to_the_type_that_is_computed_in():
    @fastopt.rule
    def tenth(param, grad, /):
        return param - 0.1 * grad

    param = np.zeros(3, np.float32)
    tenth(param, np.ones(3, np.float32))
    assert np.all(param == -np.float32(0.1))
    assert "float64" not in tenth._read.text


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


def test_calls_are_checked_as_the_librarys_are():
    param, grad, m, v = arrays(plain_adam.arrays).values()
    before = param.copy()
    for error, match, call in (
        (TypeError, "plain_adam needs lr, which has no default", lambda: plain_adam(param, grad, m, v)),
        (TypeError, "'rate' is no hyperparameter of plain_adam; expected lr, beta1", lambda: plain_adam(
            param, grad, m, v, lr=0.1, rate=1.0)),
        (ValueError, "3 arrays given; expected 4: param, grad, m, v", lambda: plain_adam(param, grad, m, lr=0.1)),
        (ValueError, "v has shape", lambda: plain_adam(param, grad, m, v[:3], lr=0.1)),
        (ValueError, "overlaps", lambda: plain_adam(param, grad, m, m, lr=0.1)),
        (ValueError, "lr is nan; expected a finite number", lambda: plain_adam(param, grad, m, v, lr=math.nan)),
        (TypeError, "lr is 'a', a str", lambda: plain_adam(param, grad, m, v, lr="a")),
        (ValueError, "not in the build", lambda: plain_adam(param, grad, m, v, lr=0.1, backend="cython")),
        (ValueError, "prepare of wrong gives nothing; expected size", lambda: fastopt.rule(
            prepare=lambda lr: {"nothing": lr})(wrong)(param, grad, lr=0.1)),
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


def keeps_an_average(param, grad, ema, /, lr):
    return param - lr * grad, ema


BAD = {
    returns_a_tuple_of_one: (1, "a return of 1 value in a tuple; expected 1: param"),
    returns_a_tuple_in_a_tuple: (1, "several values where one is expected"),
    unpacks_a_number: (1, "a, _ = grad; expected as many values as names"),
    names_two_values: (1, "a = (grad, lr); expected as many values as names"),
    calls_a_list: (1, "a call of TABLE(grad); expected one of"),
    vanishing_number: (1, "the number 1e-40, which float32 does not hold"),
    endless_number: (1, "the number 1e+39, which float32 does not hold"),
    keeps_an_average: (0, "the state ema, which optimizers keep themselves"),
    gradient: (0, "the name of a function that is compiled with it"),
    assigns_a_literal: (1, "an assignment to literal_0; expected other names"),
    assigns_a_primitive: (1, "an assignment to sign; expected other names"),
    scales: (0, "the scalar grad_scale, which calls take already"),
    calls_its_own_sign(): (1, "a call of sign(grad); expected one of"),
    indented_with_text_at_the_left(): (4, "a power; expected products and sqrt"),
    too_few: (1, "a return of 1 value; expected 2: param, m"),
    foreign_name: (1, "the name FACTOR, which is no argument"),
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
    no_return: (1, "no return at its end; expected it to return param"),
    returns_early: (1, "a return before its end"),
    any_number: (0, "arguments of any number"),
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


def test_what_is_no_function_is_refused():
    with pytest.raises(ValueError, match="expected a function made by def"):
        fastopt.rule(lambda param, grad, /: param)
    with pytest.raises(ValueError, match=r"source of .* can't be read"):
        fastopt.rule(math.sqrt)


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
    with pytest.raises(ValueError, match=r"state has shape \(2,\); expected \(3,\), param's"):
        of_everything.reference(param, np.ones(3), state)
    assert param.tolist() == [1.0, 1.0, 1.0]
