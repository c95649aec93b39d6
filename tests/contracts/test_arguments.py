"""Flags, whole numbers and real numbers of every public function and class, found by their signatures.

A new function or argument is covered by itself; one that can't be called for want of an example fails here.
"""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastopt
import fastopt.augment
import fastopt.init
import fastopt.norm
import fastopt.optim
import fastopt.scaling
import fastopt.schedules
from fastopt.optim import Optimizer

MODULES = ("fastopt", *(f"fastopt.{each}" for each in ("augment", "optim", "norm", "scaling", "init", "schedules")))


@fastopt.rule
def of_a_user(param, grad, m, /, lr=0.1, beta=0.9):
    return param - lr * m, beta * m + (1 - beta) * grad


#: Arguments without a default, and some that others ask for, by their names: arrays first, of which each call has its
#: own. Where functions differ, by function and name.
ARRAYS = {"x": (4, 4), "dy": (4, 4), "residual": (4, 4), "mean": (4,), "rstd": (4,), "acc": (4,), "grads": None}
EXAMPLES: dict[str, Any] = {
    "arrays": lambda: np.ones((8, 2)), "params": lambda: [np.ones(4, np.float32)],
    "grads": lambda: [np.ones(4, np.float32)], "weight": lambda: None, "bias": lambda: None,
    "running_mean": lambda: np.zeros(4, np.float32), "running_var": lambda: np.ones(4, np.float32),
    **{name: lambda shape=shape: np.ones(shape, np.float32) for name, shape in ARRAYS.items() if shape},
    "instance_norm_backward.mean": lambda: np.ones((4, 4), np.float32),
    "instance_norm_backward.rstd": lambda: np.ones((4, 4), np.float32),
    "group_norm_backward.mean": lambda: np.ones((4, 2), np.float32),
    "group_norm_backward.rstd": lambda: np.ones((4, 2), np.float32),
    **{f"{name}.x": lambda: np.ones((2, 1, 4, 4), np.float32) for name in ("flip", "shift", "crop")},
    "std": lambda: 0.1, "size": lambda: 1,
    "step": lambda: 3, "lr": lambda: 0.1, "mu_product": lambda: 0.1, "seed": lambda: 1, "groups": lambda: 2,
    "batch_size": lambda: 2, "channels": lambda: 4, "shape": lambda: 4, "num_threads": lambda: 1,
    "name": lambda: "sgd", "dtype": lambda: "float32", "steps": lambda: 5, "rate": lambda: 0.5, "gamma": lambda: 0.5,
    "every": lambda: 2, "schedule": lambda: fastopt.schedules.constant(0.1), "rates": lambda: (0.1, 0.2),
    "boundaries": lambda: (3,), "schedules": lambda: (fastopt.schedules.constant(0.1),) * 2, "metric": lambda: 0.5,
}  # fmt: skip

#: What has neither flags nor numbers to be checked, or is made by the library alone.
LEFT_OUT = {
    "BackendUnavailable", "NotFittedError", "Optimizer", "StepResult", "Group", "get_include", "get_num_threads",
    "rule", "show_config", "piecewise", "sequence",
}  # fmt: skip

#: Arguments that an error may name instead of the wrong one: the two do not fit together.
RELATED = {"grad_scale", "high", "low", "mu_product", "step_min"}

WHOLE = {"int", "int | None", "SupportsIndex", "SupportsIndex | None"}
REAL = {"float", "float | None", "Real", "Real | None", "LearningRate"}


class Called(NamedTuple):
    """Something public, with its parameters: it is called by name, but for the first ones."""

    name: str
    call: Callable[..., Any]
    parameters: dict[str, inspect.Parameter]

    def run(self, **given: Any) -> Any:
        """Call it with examples of what has no default, and what is given."""
        arguments = {}
        for name, parameter in self.parameters.items():
            is_array = parameter.annotation == "Array" and parameter.kind is not parameter.VAR_POSITIONAL
            if name in given:
                arguments[name] = given[name]
            elif parameter.default is parameter.empty:
                own = EXAMPLES.get(f"{self.name}.{name}") or EXAMPLES.get(name)
                arguments[name] = (
                    np.ones(4 if self.name[-1] != "_" else (4, 4), np.float32) if is_array and own is None else own()
                )
        several = [arguments.pop(name) for name, p in self.parameters.items() if p.kind is p.VAR_POSITIONAL]
        return self.call(*several, **arguments)


def found() -> dict[str, Called]:
    every = {}
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            public = getattr(module, name)
            if name in LEFT_OUT or not callable(public):
                continue
            parameters = dict(inspect.signature(public).parameters)
            if parameters.pop("options", None):
                more = inspect.signature(Optimizer).parameters
                parameters.update(
                    (each, more[each]) for each in more if each not in ("params", "hyperparameters", "unknown")
                )
            every[name] = Called(name, public, parameters)
    step = dict(list(inspect.signature(Optimizer.step).parameters.items())[1:])
    every["step of an optimizer"] = Called(
        "step", lambda **given: fastopt.optim.SGD([np.ones(4, np.float32)], lr=0.1).step(**given), step
    )
    statistics = fastopt.norm.DatasetStatistics(2)
    every["var"] = Called("var", statistics.var, dict(inspect.signature(statistics.var).parameters))
    plateau = fastopt.schedules.ReduceOnPlateau(0.1)
    every["observe"] = Called("observe", plateau.observe, dict(inspect.signature(plateau.observe).parameters))
    own = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation="Real")
        for name, value in of_a_user.defaults.items()
    }
    every["of_a_user"] = Called(
        "of_a_user",
        lambda **given: of_a_user(*(np.ones(4, np.float32) for _ in range(3)), backend="reference", **given),
        own,
    )
    every["optimizer of a rule"] = Called(
        "optimizer", lambda **given: of_a_user.optimizer([np.ones(4, np.float32)], **given),
        {**{name: own[name] for name in own if name != "grad_scale"}, **more_of_optimizers()},
    )  # fmt: skip
    return every


def more_of_optimizers() -> dict[str, inspect.Parameter]:
    return {
        name: each for name, each in inspect.signature(Optimizer).parameters.items()
        if name not in ("params", "hyperparameters", "unknown")
    }  # fmt: skip


EVERY = found()


def arguments(is_wanted: Callable[[inspect.Parameter], bool]) -> list[Any]:
    """All arguments of a kind, each with what it belongs to."""
    return [
        pytest.param(called, name, id=f"{key}-{name}")
        for key, called in EVERY.items()
        for name, each in called.parameters.items()
        if is_wanted(each)
    ]


flags = arguments(lambda each: isinstance(each.default, bool))
wholes = arguments(lambda each: each.annotation in WHOLE)
choices = arguments(
    lambda each: (
        "Literal" in str(each.annotation) or each.annotation in ("Backend", "str | None", "Activation", "Layout")
    )
)
reals = arguments(lambda each: each.annotation in REAL)


def refused(called: Called, name: str, value: Any, error: Any, expected: str = "") -> None:
    with pytest.raises(error) as caught:
        called.run(**{name: value})
    said = str(caught.value)
    assert re.match(rf"{name} (is|has|exceeds|underflows) .*{expected}", said), said
    assert len(said) < 300
    assert "\n" not in said


def is_optional(called: Called, name: str) -> bool:
    return called.parameters[name].default is None or "None" in str(called.parameters[name].annotation)


class Index:
    """A whole number of a type of its own."""

    def __init__(self, number: int):
        self.number = number

    def __index__(self) -> int:
        return self.number


def test_there_are_many():
    assert len(flags) > 60
    assert len(wholes) > 150
    assert len(reals) > 200
    assert len(choices) > 90
    assert {param.values[1] for param in flags} >= {
        "nesterov",
        "unbiased",
        "residual",
        "training",
        "drop_last",
        "decay",
    }


@pytest.mark.parametrize(("called", "name"), flags)
def test_a_flag_is_true_or_false(called, name):
    for value in ("False", "", 1, 0, 1.0, None, [], np.array(True), np.ones(2, bool), np.ones(300)):
        refused(called, name, value, TypeError, "; expected True or False")
    called.run(**{name: np.bool_(called.parameters[name].default)})


@pytest.mark.parametrize(("called", "name"), wholes)
def test_a_whole_number_is_no_float_and_no_bool(called, name):
    for value in (
        2.9,
        2.0,
        True,
        False,
        np.True_,
        np.float64(2),
        np.array(2.0),
        "3",
        1j,
        [2],
        np.ones(2, int),
        np.ones(300),
    ):
        refused(called, name, value, TypeError, "; expected ")
    for value in (10**400, -(10**400), 10**5000, 2**64):
        refused(called, name, value, ValueError, "; expected ")
    if not is_optional(called, name):
        refused(called, name, None, TypeError, "; expected ")
    good = called.parameters[name].default
    good = EXAMPLES.get(name, lambda: 1)() if good in (None, inspect.Parameter.empty) else good
    if name not in ("n_components", "fan_out"):
        for kind in (np.int64, np.int8, Index, np.array):
            called.run(**{name: kind(good)})


@pytest.mark.parametrize(("called", "name"), reals)
def test_a_number_that_is_none_is_refused_by_its_name(called, name):
    for value in ("0.5", b"1", 1j, [0.5], np.ones(2), np.ones(300), np.array("0.5"), np.complex64(1), object()):
        refused(called, name, value, TypeError, "; expected ")
    if not is_optional(called, name):
        refused(called, name, None, TypeError, "; expected ")
    for value in (10**400, *([math.nan, -math.inf] if name != "metric" else [])):
        refused(called, name, value, ValueError, "; expected ")


@pytest.mark.parametrize(("called", "name"), reals)
def test_a_number_that_makes_others_infinite_is_named_itself(called, name):
    """Scalars that follow from it have names that no caller knows."""
    for value in (1e39, -1e39, 1e300, -1e300, 1e-300, 1 - 2**-53):
        said = message_of(called, name, value)
        first = re.match(r"\w*", said)[0]
        assert not said or first == name or first in RELATED & called.parameters.keys(), said


@pytest.mark.parametrize(("called", "name"), choices)
def test_a_choice_that_there_is_not_is_refused_by_its_name(called, name):
    for value in ("other", "x" * 999, 5, b"sum", *([] if name == "form" else [np.ones(300)]), ["sum"], object):
        refused(called, name, value, (TypeError, ValueError), "; expected ")


def message_of(called: Called, name: str, value: float) -> str:
    """What is said of a value; nothing if it is good."""
    try:
        called.run(**{name: value})
    except ValueError as error:
        return str(error)
    return ""
