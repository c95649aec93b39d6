"""What all schedules have in common: how steps are counted, and what each argument may be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import FrozenInstanceError
from itertools import pairwise
from math import inf
from sys import float_info
from typing import Any, SupportsIndex, TypeAlias

from fastopt.coefficients.ranges import ABOVE_ZERO, FRACTION_BELOW_ONE, NOT_NEGATIVE, Range
from fastopt.common.display import Display
from fastopt.common.messages import brief
from fastopt.engine.core.hyperparameters import Hyperparameters, flag, whole

#: What an optimizer takes as ``lr``, besides a number: a schedule, or any other function of the step.
Rate: TypeAlias = Callable[[int], float]

STEP = "a whole number, 1 or more: steps count from 1"
LAST_STEP = 2**63 - 1


class Schedule(Display, ABC):
    """A learning rate for each step: a function that can be compared, printed and pickled.

    Subclasses are dataclasses. Their fields are checked, each by its row of `ARGUMENTS`, when they are made.
    """

    def __post_init__(self) -> None:
        arguments = vars(self)  # and not setattr, which frozen dataclasses refuse
        for name, given in arguments.items():
            arguments[name] = ARGUMENTS[name](name, given)

    def __call__(self, step: SupportsIndex) -> float:
        """Return the learning rate of a step; the first is 1."""
        number = step if type(step) is int and 1 <= step <= LAST_STEP else whole("step", step, STEP)
        return self._after(number - 1)

    def _refuse(self, name: str, *given: object) -> None:
        """Take the place of the ``__setattr__`` and ``__delattr__`` of frozen dataclasses."""
        raise FrozenInstanceError(f"{name} can't be changed: dataclasses.replace makes another {type(self).__name__}")

    @abstractmethod
    def _after(self, t: int) -> float:
        """Return the learning rate after t updates."""


# ---- What arguments may be


Check: TypeAlias = Callable[[str, Any], Any]


def _number(allowed: Range) -> Check:
    return lambda name, given: Hyperparameters(name, ranges={name: allowed})(given)[0]


def _whole(lowest: int) -> Check:
    expected = f"a whole number, {lowest} or more"
    return lambda name, given: whole(name, given, expected, lowest=lowest)


def _one_of(*choices: object) -> Check:
    def check(name: str, given: Any) -> Any:
        if not any(given is choice or (isinstance(given, str) and given == choice) for choice in choices):
            raise ValueError(f"{name} is {brief(given)}; expected {' or '.join(map(repr, choices))}")
        return given

    return check


def _function(name: str, given: Any) -> Any:
    if not callable(given):
        raise TypeError(
            f"{name} is {brief(given)}, a {type(given).__name__}; expected a schedule, or a function of the step"
        )
    return given


def _each(check: Check) -> Check:
    def check_all(name: str, given: Any) -> tuple[Any, ...]:
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"{name} is {brief(given)}, a {type(given).__name__}; expected a list")
        return tuple(check(f"{name}[{i}]", each) for i, each in enumerate(given))

    return check_all


def _rising(name: str, given: Any) -> tuple[int, ...]:
    numbers: tuple[int, ...] = _each(_whole(1))(name, given)
    for before, after in pairwise(numbers):
        if before >= after:
            raise ValueError(f"{name} has {after} after {before}; expected numbers of updates that rise")
    return numbers


_rate = _number(NOT_NEGATIVE)
_length = _whole(1)
_count = _whole(0)

#: One row for each argument, wherever it occurs: a function of name and value that returns the value as it is kept.
ARGUMENTS: dict[str, Check] = {
    "anneal": _one_of("cosine", "linear"),
    "best": _number((-inf, inf, "a number, or an infinity")),
    "boundaries": _rising,
    "cooldown": _count,
    "cooldown_counter": _count,
    "div_factor": _number(ABOVE_ZERO),
    "eps": _rate,
    "every": _length,
    "factor": _number(FRACTION_BELOW_ONE),
    "final": _rate,
    "final_div_factor": _number(ABOVE_ZERO),
    "gamma": _number((float_info.min, 1.0, "a number above 0, at most 1")),
    "growth": _length,
    "lr": _rate,
    "min_lr": _rate,
    "mode": _one_of("min", "max"),
    "num_bad_epochs": _count,
    "patience": _count,
    "pct_start": _number(FRACTION_BELOW_ONE),
    "power": _number(ABOVE_ZERO),
    "rate": _rate,
    "rates": _each(_rate),
    "schedule": _function,
    "schedules": _each(_function),
    "start": _rate,
    "steps": _length,
    "three_phase": flag,
    "threshold": _rate,
    "threshold_mode": _one_of("rel", "abs"),
}
