"""Learning rates that also rise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from fastopt.schedules.decays import between, half_wave
from fastopt.schedules.schedule import Schedule


@dataclass(frozen=True)
class cosine_restarts(Schedule):
    """Cosine decay with warm restarts.

        rate = final + (lr - final) * (1 + cos(pi * u / n)) / 2

    u is the number of updates since the last restart. The cycles have n = steps, steps * growth, ... updates.

    Parameters
    ----------
    lr : float >= 0
        Learning rate of the first step, and after each restart.
    steps : int >= 1
        Number of updates before the first restart.
    final : float >= 0
        Limit of the decay. Each restart comes one update before the rate would reach it.
    growth : int >= 1
        Ratio of the lengths of successive cycles.

    Notes
    -----
    As PyTorch's CosineAnnealingWarmRestarts, with T_0, eta_min and T_mult. For cycles of other heights, use `sequence`.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: Stochastic gradient descent with warm restarts", 2017.

    Examples
    --------
    >>> from fastopt.schedules import cosine_restarts
    >>> rate = cosine_restarts(1.0, steps=10, growth=2)
    >>> [round(rate(step), 3) for step in (1, 6, 10, 11, 21, 30, 31)]
    [1.0, 0.5, 0.024, 1.0, 0.5, 0.006, 1.0]
    """

    lr: float
    steps: int
    final: float = 0.0
    growth: int = 1

    def _after(self, t: int) -> float:
        length = self.steps
        if self.growth == 1:
            t %= length
        while t >= length:
            t -= length
            length *= self.growth
        return between(self.lr, self.final, half_wave((length - t) / length))


@dataclass(frozen=True)
class one_cycle(Schedule):
    """One cycle: a rise to a high learning rate, and a decay to a very low one.

        start = lr / div_factor
        final = start / final_div_factor
        t from 0 to pct_start * steps: from start to lr
        t from there to steps: from lr to final

    along half a period of the cosine, or linearly. With three_phase, the decay first returns to start, over as many
    updates as the rise, and then goes on to final.

    Parameters
    ----------
    lr : float >= 0
        Maximum learning rate.
    steps : int >= 1
        Number of updates after which the learning rate is final; it then stays constant.
    pct_start : float in [0, 1)
        Fraction of the steps in which the rate rises: at most 1/2 with three_phase.
    div_factor, final_div_factor : float above 0
        Ratio of lr to the first learning rate, and ratio of the first learning rate to the last.
    anneal : {"cosine", "linear"}
        Shape of the rise and of the decay.
    three_phase : bool
        Whether the decay has two phases.

    Notes
    -----
    As optax's cosine_onecycle_schedule, which rounds pct_start * steps. PyTorch's OneCycleLR is one update ahead: its
    peak is at t = pct_start * total_steps - 1, and its end at total_steps - 1. This corresponds to ``steps=total_steps
    - 1, pct_start=(pct_start * total_steps - 1) / (total_steps - 1)`` here. PyTorch also cycles momentum.

    References
    ----------
    L. Smith and N. Topin, "Super-convergence: Very fast training of neural networks using large learning rates", 2018.

    Examples
    --------
    >>> from fastopt.schedules import one_cycle
    >>> rate = one_cycle(1.0, steps=100, div_factor=4, final_div_factor=1000)
    >>> rate(1), rate(31), rate(101)
    (0.25, 1.0, 0.00025)
    """

    lr: float
    steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal: Literal["cosine", "linear"] = "cosine"
    three_phase: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.three_phase and self.pct_start > 0.5:
            raise ValueError(f"pct_start is {self.pct_start}; expected at most 0.5 with three_phase=True")

    @cached_property
    def _phases(self) -> list[tuple[float, float, float, float]]:
        """Return the start and end of each phase, as time and learning rate."""
        start = self.lr / self.div_factor
        peak = self.pct_start * self.steps
        corners = [(0.0, start), (peak, self.lr), (self.steps, start / self.final_div_factor)]
        if self.three_phase:
            corners.insert(2, (2 * peak, start))
        return [(*corner, *following) for corner, following in pairwise(corners)]

    def _after(self, t: int) -> float:
        for begin, first, end, last in self._phases:
            if t < end:
                left = (end - t) / (end - begin)
                return between(first, last, half_wave(left) if self.anneal == "cosine" else left)
        return last
