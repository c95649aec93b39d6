"""Learning rates that go one way, by a formula."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sin, sqrt

from fastopt.schedules.schedule import Schedule


def between(first: float, last: float, left: float) -> float:
    """Return ``first`` where all is left (1), ``last`` where nothing is (0), exactly, and what lies between them."""
    return left * first + (1 - left) * last


def half_wave(left: float) -> float:
    """Return (1 + cos(pi * (1 - left))) / 2 with all its digits, also where nearly nothing is left."""
    return sin(pi / 2 * left) ** 2


@dataclass(frozen=True)
class constant(Schedule):
    """The same learning rate at every step.

        rate = lr

    Parameters
    ----------
    lr : float >= 0
        Learning rate.

    Examples
    --------
    >>> from fastopt.schedules import constant
    >>> constant(0.1)(1000)
    0.1
    """

    lr: float

    def _after(self, t: int) -> float:
        return self.lr


@dataclass(frozen=True)
class inverse_time(Schedule):
    """Over a sum that grows with time.

        rate = lr / (1 + rate * t)

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first step.
    rate : float >= 0
        How soon it falls: after 1 / rate updates it is half of lr.

    Notes
    -----
    Adagrad's and ASGD's ``lr_decay`` and ``lambd`` are this with their own t. Keras' InverseTimeDecay has decay_rate /
    decay_steps for rate. Where epochs count from 1 in the formula, lr / (1 + rate * epoch), take
    ``inverse_time(lr / (1 + rate), rate / (1 + rate))``.

    Examples
    --------
    >>> from fastopt.schedules import inverse_time
    >>> rate = inverse_time(0.5, rate=0.25)
    >>> rate(1), rate(5)
    (0.5, 0.25)
    """

    lr: float
    rate: float

    def _after(self, t: int) -> float:
        return self.lr / (1 + self.rate * t)


@dataclass(frozen=True)
class exponential(Schedule):
    """By the same factor at every step.

        rate = max(lr * gamma^(t / steps), final)

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first step.
    gamma : float above 0, at most 1
        Factor.
    steps : int >= 1
        How many updates it takes to fall by that factor.
    final : float >= 0
        Below this it does not fall.

    Notes
    -----
    With steps=1, PyTorch's ExponentialLR. optax's exponential_decay, where end_value is None unless given, and Keras'
    ExponentialDecay have decay_rate and transition_steps or decay_steps; with staircase=True they are `step`.

    Examples
    --------
    >>> from fastopt.schedules import exponential
    >>> rate = exponential(1.0, gamma=0.25, steps=10)
    >>> rate(1), rate(6), rate(11)
    (1.0, 0.5, 0.25)
    """

    lr: float
    gamma: float
    steps: int = 1
    final: float = 0.0

    def _after(self, t: int) -> float:
        rate: float = self.lr * self.gamma ** (t / self.steps)
        return max(rate, self.final)


@dataclass(frozen=True)
class inverse_sqrt(Schedule):
    """Over a root that grows with time.

        rate = lr / sqrt(1 + rate * t)

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first step.
    rate : float >= 0
        How soon it falls: after 3 / rate updates it is half of lr. With 1, it is lr / sqrt(step).

    Notes
    -----
    ``warmup(inverse_sqrt(lr, rate=1 / n), steps=n)`` is lr * sqrt(n / t) from t = n on: the schedule of transformers.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", 2017, equation 3.

    Examples
    --------
    >>> from fastopt.schedules import inverse_sqrt
    >>> rate = inverse_sqrt(1.0)
    >>> rate(1), rate(4), rate(100)
    (1.0, 0.5, 0.1)
    """

    lr: float
    rate: float = 1.0

    def _after(self, t: int) -> float:
        return self.lr / sqrt(1 + self.rate * t)


@dataclass(frozen=True)
class step(Schedule):
    """Down by a factor, now and then.

        rate = lr * gamma^floor(t / every)

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first steps.
    every : int >= 1
        For how many updates it stays the same.
    gamma : float above 0, at most 1
        Factor.

    Notes
    -----
    PyTorch's StepLR. At times of your own: `piecewise`.

    Examples
    --------
    >>> from fastopt.schedules import step
    >>> rate = step(1.0, every=30, gamma=0.5)
    >>> rate(1), rate(30), rate(31), rate(61)
    (1.0, 1.0, 0.5, 0.25)
    """

    lr: float
    every: int
    gamma: float = 0.1

    def _after(self, t: int) -> float:
        return self.lr * self.gamma ** (t // self.every)


@dataclass(frozen=True)
class polynomial(Schedule):
    """Along a power of the time that is left.

        left = max(1 - t / steps, 0)
        rate = final + (lr - final) * left^power

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first step.
    steps : int >= 1
        After how many updates it is final, and stays so.
    final : float >= 0
        Learning rate of step ``steps + 1`` and of all that follow; above lr, too.
    power : float above 0
        1 is a straight line; above 1 it falls fast at first, below 1 at last.

    Notes
    -----
    optax's polynomial_schedule; PyTorch's PolynomialLR has no final.

    Examples
    --------
    >>> from fastopt.schedules import polynomial
    >>> rate = polynomial(1.0, steps=100, power=2)
    >>> rate(1), rate(51), rate(101), rate(1000)
    (1.0, 0.25, 0.0, 0.0)
    """

    lr: float
    steps: int
    final: float = 0.0
    power: float = 1.0

    def _after(self, t: int) -> float:
        left = max(self.steps - t, 0) / self.steps
        return between(self.lr, self.final, left**self.power)


def linear(lr: float, steps: int, final: float = 0.0) -> polynomial:
    """Along a straight line: `polynomial` with a power of 1.

        rate = lr + (final - lr) * min(t / steps, 1)

    Parameters
    ----------
    lr, steps, final
        See `polynomial`.

    Notes
    -----
    optax's linear_schedule. PyTorch's LinearLR has factors of lr: ``linear(start_factor * lr, total_iters, end_factor *
    lr)``.

    Examples
    --------
    >>> from fastopt.schedules import linear
    >>> rate = linear(1.0, steps=4)
    >>> [rate(step) for step in range(1, 7)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    return polynomial(lr, steps, final)


@dataclass(frozen=True)
class cosine(Schedule):
    """Down half a wave: slowly, fast, and slowly.

        rate = final + (lr - final) * (1 + cos(pi * min(t / steps, 1))) / 2

    Parameters
    ----------
    lr, steps, final
        See `polynomial`.

    Notes
    -----
    PyTorch's CosineAnnealingLR, with T_max and eta_min, rises again after T_max updates. optax's cosine_decay_schedule
    and Keras' CosineDecay have alpha = final / lr.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: Stochastic gradient descent with warm restarts", 2017, equation 5.

    Examples
    --------
    >>> from fastopt.schedules import cosine
    >>> rate = cosine(1.0, steps=100)
    >>> rate(1), round(rate(51), 12), rate(101), rate(1000)
    (1.0, 0.5, 0.0, 0.0)
    """

    lr: float
    steps: int
    final: float = 0.0

    def _after(self, t: int) -> float:
        left = max(self.steps - t, 0) / self.steps
        return between(self.lr, self.final, half_wave(left))
