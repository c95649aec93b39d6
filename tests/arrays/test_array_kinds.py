"""docs/array-libraries.md: each row of its first table states the result of every function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.optim import Momentum
from tests.array_kinds import KINDS, values_of
from tests.array_page import rows_below

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore::DeprecationWarning:jax")]

ROWS = rows_below("In the host's memory")

every_kind = pytest.mark.parametrize("kind", KINDS)


@fastopt.rule
def heavy_ball(param, grad, velocity, /, lr, momentum):
    velocity = momentum * velocity + grad
    return param - lr * velocity, velocity


def test_every_row_is_a_kind_and_every_kind_a_row():
    assert list(ROWS) == list(KINDS)


def shape_of(kind: str) -> tuple[int, ...]:
    """What the other arrays of a call have to be like."""
    return values_of(KINDS[kind]()).shape if "yes" in ROWS[kind] else (4,)


def check_grad(kind: str, name: str, call: Any) -> None:
    """``call(param, grad, velocity)`` takes the kind as gradient, with what it holds, or leaves all as it was."""
    grad, row = KINDS[kind](), ROWS[kind]
    param, velocity = (np.full(shape_of(kind), 8, "f4") for _ in range(2))
    row.check(row.as_grad, name, lambda: call(param, grad, velocity))
    if row.as_grad == "yes":
        values = values_of(grad)
        np.testing.assert_array_equal(values, values_of(KINDS[kind]()))
        np.testing.assert_array_equal(velocity, 4 + values)
        np.testing.assert_array_equal(param, 8 - 0.5 * (4 + values))
    else:
        assert np.all(param == 8)
        assert np.all(velocity == 8)


@every_kind
def test_as_gradient(kind):
    check_grad(kind, "grad", lambda *arrays: fastopt.momentum(*arrays, lr=0.5, momentum=0.5))


@every_kind
def test_as_gradient_of_a_rule(kind):
    check_grad(kind, "grad", lambda *arrays: heavy_ball(*arrays, lr=0.5, momentum=0.5))


@every_kind
def test_as_gradient_of_an_optimizer(kind):
    def call(param, grad, velocity):
        optimizer = Momentum([param], lr=0.5, momentum=0.5)
        optimizer.state[0]["velocity"][...] = velocity
        optimizer.step([grad])
        velocity[...] = optimizer.state[0]["velocity"]

    check_grad(kind, "grad of params[0]", call)


def check_target(kind: str, names: tuple[str, ...], call: Any) -> None:
    """``call(param, grad, velocity)`` updates the kind where it is, or names it and leaves all as it was."""
    row = ROWS[kind]
    for i, name in enumerate(names):
        made = [
            KINDS[kind]() if j == i or row.as_target == "yes" else np.full(shape_of(kind), 8, "f4") for j in range(2)
        ]
        row.check(row.as_target, name, lambda made=made: call(made[0], np.ones(shape_of(kind), "f4"), made[1]))
        if row.as_target == "yes":
            before = values_of(KINDS[kind]())
            velocity = 0.5 * before + 1
            if "velocity" in names:
                np.testing.assert_array_equal(values_of(made[1]), velocity)
            np.testing.assert_array_equal(values_of(made[0]), before - 0.5 * velocity)
        else:
            assert np.all(made[1 - i] == 8)


@every_kind
def test_as_target(kind):
    check_target(kind, ("param", "velocity"), lambda *arrays: fastopt.momentum(*arrays, lr=0.5, momentum=0.5))


@every_kind
def test_as_target_of_a_rule(kind):
    check_target(kind, ("param", "velocity"), lambda *arrays: heavy_ball(*arrays, lr=0.5, momentum=0.5))


@every_kind
def test_as_target_of_an_optimizer(kind):
    def call(param, grad, velocity):
        optimizer = Momentum([param], lr=0.5, momentum=0.5)
        optimizer.state[0]["velocity"][...] = values_of(velocity)
        optimizer.step([grad])

    check_target(kind, ("params[0]",), call)
