"""Schedules that combine others."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from fastopt.schedules.decays import between
from fastopt.schedules.schedule import Rate, Schedule


def check_lengths(name: str, parts: Sequence[object], boundaries: Sequence[int]) -> None:
    """Raise unless there is one boundary between any two parts."""
    if len(parts) != len(boundaries) + 1:
        raise ValueError(
            f"{name} has a length of {len(parts)}, boundaries of {len(boundaries)}; expected one boundary less"
        )


@dataclass(frozen=True)
class piecewise(Schedule):
    """Piecewise constant learning rate.

        rate = rates[i], where i is the number of boundaries that are <= t

    Parameters
    ----------
    rates : list of float >= 0
        Learning rates.
    boundaries : list of int >= 1
        Numbers of updates after which the second rate begins, the third, ...: one less than there are rates.

    Notes
    -----
    PyTorch's MultiStepLR and optax's piecewise_constant_schedule change at the same steps, but take factors instead of
    rates. Keras' PiecewiseConstantDecay changes one update later.

    Examples
    --------
    >>> from fastopt.schedules import piecewise
    >>> rate = piecewise([0.1, 0.01, 0.001], boundaries=[100, 150])
    >>> rate(100), rate(101), rate(151)
    (0.1, 0.01, 0.001)
    """

    rates: Sequence[float]
    boundaries: Sequence[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lengths("rates", self.rates, self.boundaries)

    def _after(self, t: int) -> float:
        return self.rates[bisect_right(self.boundaries, t)]


@dataclass(frozen=True)
class sequence(Schedule):
    """Several schedules one after another, each starting at its own step 1.

        rate = schedules[i](step - start)

    where i is the number of boundaries that are <= t, and start is the last of these boundaries, or 0.

    Parameters
    ----------
    schedules : list of schedules, or of functions of the step
        Each is called with 1 at its first step.
    boundaries : list of int >= 1
        Numbers of updates after which the second schedule begins, the third, ...: one less than there are schedules.

    Notes
    -----
    As PyTorch's SequentialLR and optax's join_schedules.

    Examples
    --------
    >>> from fastopt.schedules import constant, linear, sequence
    >>> rate = sequence([constant(1.0), linear(1.0, steps=10, final=0.5)], boundaries=[100])
    >>> rate(100), rate(101), rate(106), rate(111)
    (1.0, 1.0, 0.75, 0.5)
    """

    schedules: Sequence[Rate]
    boundaries: Sequence[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lengths("schedules", self.schedules, self.boundaries)

    def _after(self, t: int) -> float:
        place = bisect_right(self.boundaries, t)
        start = self.boundaries[place - 1] if place else 0
        return self.schedules[place](t - start + 1)


@dataclass(frozen=True)
class warmup(Schedule):
    """Linear warmup to the first rate of a schedule, and then that schedule.

        t < steps:  rate = start + (schedule(1) - start) * t / steps
        else:       rate = schedule(step - steps)

    Parameters
    ----------
    schedule : schedule, or function of the step
        Schedule after the warmup; its step 1 comes after ``steps`` updates.
    steps : int >= 1
        Number of updates in the warmup.
    start : float >= 0
        Learning rate of the first step. If it is 0, as in optax's examples and Hugging Face's schedules, the first step
        changes no parameter.

    Notes
    -----
    optax's warmup_cosine_decay_schedule is ``warmup(cosine(peak_value, decay_steps - warmup_steps, end_value),
    warmup_steps, init_value)``.

    References
    ----------
    P. Goyal et al., "Accurate, large minibatch SGD: Training ImageNet in 1 hour", 2017, section 2.2.

    Examples
    --------
    >>> from fastopt.schedules import cosine, warmup
    >>> rate = warmup(cosine(1.0, steps=100), steps=4, start=0.2)
    >>> [round(rate(step), 2) for step in (1, 2, 3, 4, 5, 55, 105)]
    [0.2, 0.4, 0.6, 0.8, 1.0, 0.5, 0.0]
    """

    schedule: Rate
    steps: int
    start: float = 0.0

    def _after(self, t: int) -> float:
        if t < self.steps:
            return between(self.schedule(1), self.start, t / self.steps)
        return self.schedule(t - self.steps + 1)


@dataclass(frozen=True)
class per_epoch(Schedule):
    """A schedule of epochs for an optimizer that counts steps.

        rate = schedule(1 + floor(t / steps))

    Parameters
    ----------
    schedule : schedule, or function of the epoch
        It is called with the epoch; the first is 1.
    steps : int >= 1
        Number of updates in an epoch.

    Examples
    --------
    >>> from fastopt.schedules import exponential, per_epoch
    >>> rate = per_epoch(exponential(1.0, gamma=0.5), steps=300)
    >>> rate(1), rate(300), rate(301), rate(601)
    (1.0, 1.0, 0.5, 0.25)
    """

    schedule: Rate
    steps: int

    def _after(self, t: int) -> float:
        return self.schedule(t // self.steps + 1)
