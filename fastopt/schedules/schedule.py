"""The base class of all schedules: how steps are counted, and the valid arguments."""

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
from fastopt.engine.core.options import one_of

#: What an optimizer takes as ``lr``, besides a number: a schedule, or any other function of the step.
Rate: TypeAlias = Callable[[int], float]

STEP = "a whole number, 1 or more: steps count from 1"
LAST_STEP = 2**63 - 1


class Schedule(Display, ABC):
    """A learning rate for each step: a function that can be compared, printed and pickled.

    Subclasses are dataclasses. Their constructors check each field by its entry of `ARGUMENTS`.
    """

    def __post_init__(self) -> None:
        arguments = vars(self)  # not setattr, which frozen dataclasses refuse
        for name, given in arguments.items():
            arguments[name] = ARGUMENTS[name](name, given)

    def __call__(self, step: SupportsIndex) -> float:
        """Return the learning rate of a step; the first is 1."""
        number = step if type(step) is int and 1 <= step <= LAST_STEP else whole("step", step, STEP)
        return self._after(number - 1)

    def _refuse(self, name: str, *given: object) -> None:
        """Replacement of the ``__setattr__`` and ``__delattr__`` of frozen dataclasses."""
        raise FrozenInstanceError(f"{name} can't be changed: dataclasses.replace makes another {type(self).__name__}")

    @abstractmethod
    def _after(self, t: int) -> float:
        """Return the learning rate after t updates."""


# ---- Valid arguments


Check: TypeAlias = Callable[[str, Any], Any]


def _number(allowed: Range) -> Check:
    return lambda name, given: Hyperparameters(name, ranges={name: allowed})(given)[0]


def _whole(lowest: int) -> Check:
    expected = f"a whole number, {lowest} or more"
    return lambda name, given: whole(name, given, expected, lowest=lowest)


def _one_of(*choices: str) -> Check:
    return lambda name, given: one_of(name, given, *choices)


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
            raise ValueError(f"{name} has {after} after {before}; expected increasing numbers of updates")
    return numbers


_rate = _number(NOT_NEGATIVE)

#: For each argument name, a function of name and value that returns the value to store.
ARGUMENTS: dict[str, Check] = {
    **dict.fromkeys(("eps", "final", "lr", "min_lr", "rate", "start", "threshold"), _rate),
    **dict.fromkeys(("div_factor", "final_div_factor", "power"), _number(ABOVE_ZERO)),
    **dict.fromkeys(("factor", "pct_start"), _number(FRACTION_BELOW_ONE)),
    **dict.fromkeys(("every", "growth", "steps"), _whole(1)),
    **dict.fromkeys(("cooldown", "cooldown_counter", "num_bad_epochs", "patience"), _whole(0)),
    "anneal": _one_of("cosine", "linear"),
    "best": _number((-inf, inf, "a number, or an infinity")),
    "boundaries": _rising,
    "gamma": _number((float_info.min, 1.0, "a number above 0, at most 1")),
    "mode": _one_of("min", "max"),
    "rates": _each(_rate),
    "schedule": _function,
    "schedules": _each(_function),
    "three_phase": flag,
    "threshold_mode": _one_of("rel", "abs"),
}
