"""Learning rates that decrease by a formula."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sin, sqrt

from fastopt.schedules.schedule import Schedule


def between(first: float, last: float, left: float) -> float:
    """Interpolate: return exactly ``first`` if the fraction left is 1, and exactly ``last`` if it is 0."""
    return left * first + (1 - left) * last


def half_wave(left: float) -> float:
    """Return (1 + cos(pi * (1 - left))) / 2 in full precision, also for a small fraction left."""
    return sin(pi / 2 * left) ** 2


@dataclass(frozen=True)
class constant(Schedule):
    """Constant learning rate.

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
    """Inverse time decay.

        rate = lr / (1 + rate * t)

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first step.
    rate : float >= 0
        Decay rate: after 1 / rate updates, the learning rate is half of lr.

    Notes
    -----
    Adagrad's and ASGD's ``lr_decay`` and ``lambd`` are this schedule with their own t. Keras' InverseTimeDecay has
    decay_rate / decay_steps in place of rate. For the formula lr / (1 + rate * epoch), where epoch starts at 1, use
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
    """Exponential decay.

        rate = max(lr * gamma^(t / steps), final)

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first step.
    gamma : float above 0, at most 1
        Decay factor.
    steps : int >= 1
        Number of updates over which the learning rate falls by the factor gamma.
    final : float >= 0
        Lower bound of the learning rate.

    Notes
    -----
    As PyTorch's ExponentialLR if steps=1. optax's exponential_decay (whose end_value is None by default) and Keras'
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
    """Inverse square root decay.

        rate = lr / sqrt(1 + rate * t)

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first step.
    rate : float >= 0
        Decay rate: after 3 / rate updates, the learning rate is half of lr. With rate=1, it is lr / sqrt(step).

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
    """Step decay: multiplication by gamma at regular intervals.

        rate = lr * gamma^floor(t / every)

    Parameters
    ----------
    lr : float >= 0
        Initial learning rate.
    every : int >= 1
        Number of updates between two changes.
    gamma : float above 0, at most 1
        Decay factor.

    Notes
    -----
    As PyTorch's StepLR. For irregular intervals, use `piecewise`.

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
    """Polynomial decay.

        left = max(1 - t / steps, 0)
        rate = final + (lr - final) * left^power

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first step.
    steps : int >= 1
        Number of updates after which the learning rate is final; it then stays constant.
    final : float >= 0
        Learning rate from step ``steps + 1`` on; it may be above lr.
    power : float above 0
        Exponent: 1 is linear; above 1 the decay is fast at first, below 1 it is fast at the end.

    Notes
    -----
    As optax's polynomial_schedule; PyTorch's PolynomialLR has no final.

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
    """Linear decay or growth: `polynomial` with power 1.

        rate = lr + (final - lr) * min(t / steps, 1)

    Parameters
    ----------
    lr, steps, final
        See `polynomial`.

    Notes
    -----
    As optax's linear_schedule. PyTorch's LinearLR has factors of lr: ``linear(start_factor * lr, total_iters,
    end_factor * lr)``.

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
    """Cosine decay, along half a period.

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
