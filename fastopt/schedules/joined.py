"""Schedules made of others."""

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
    """One learning rate after the other.

        rate = rates[i], where i of the boundaries are t or less

    Parameters
    ----------
    rates : list of float >= 0
        Learning rates.
    boundaries : list of int >= 1
        After how many updates the second begins, the third, ...: one less than there are rates.

    Notes
    -----
    PyTorch's MultiStepLR and optax's piecewise_constant_schedule change at the same steps, and have factors for rates.
    Keras' PiecewiseConstantDecay changes one update later.

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
    """One schedule after the other, each from its own first step.

        rate = schedules[i](step - start)

    where i of the boundaries are t or less, and start is the last of those, or 0.

    Parameters
    ----------
    schedules : list of schedules, or of functions of the step
        Each is called with 1 when its turn comes.
    boundaries : list of int >= 1
        After how many updates the second begins, the third, ...: one less than there are schedules.

    Notes
    -----
    PyTorch's SequentialLR, and optax's join_schedules.

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
    """Along a straight line up to where a schedule begins, and then that schedule.

        t < steps:  rate = start + (schedule(1) - start) * t / steps
        else:       rate = schedule(step - steps)

    Parameters
    ----------
    schedule : schedule, or function of the step
        What follows: its first step comes after ``steps`` updates.
    steps : int >= 1
        How many updates come before.
    start : float >= 0
        Learning rate of the first step. With 0, as in optax's examples and Hugging Face's schedules, that step changes
        no parameter.

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
    """A schedule of epochs, for an optimizer that counts steps.

        rate = schedule(1 + floor(t / steps))

    Parameters
    ----------
    schedule : schedule, or function of the epoch
        Its step is an epoch; the first is 1.
    steps : int >= 1
        How many updates an epoch has.

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
