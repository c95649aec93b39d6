"""Times functions in turns, so that what disturbs the machine disturbs them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from statistics import median
from timeit import Timer
from typing import TypeVar

from benchmarks.effort import Effort

Key = TypeVar("Key", bound=Hashable)

#: A sample takes at least so long, in seconds: as many calls as that needs.
SHORTEST = 2e-3

#: A call of more seconds is its own warm-up.
LONG = 0.1

#: Before each sample, for threads of the one before to fall asleep: those of OpenMP spin for 8 ms after their work.
PAUSE = 15e-3


@dataclass(frozen=True)
class Timing:
    """The seconds of one call, over some samples."""

    samples: int
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Sum up the samples."""
        return cls(len(seconds), min(seconds), median(seconds), max(seconds))


#: However long they take.
FEWEST_SAMPLES = 3


def time_in_turns(functions: Mapping[Key, Callable[[], object]], effort: Effort) -> dict[Key, Timing]:
    """Take samples of each function: one of each in turn, and every turn begins with another function."""
    timers = {key: Timer(function) for key, function in functions.items()}
    repeats, samples = {}, {}
    for key, timer in timers.items():
        repeats[key], duration = _fill_sample(timer)
        samples[key] = max(FEWEST_SAMPLES, min(effort.samples, int(effort.budget / duration)))
    seconds: dict[Key, list[float]] = {key: [] for key in timers}
    order = list(timers)
    for turn in range(max(samples.values())):
        for key in order:
            if turn < samples[key]:
                time.sleep(PAUSE)
                if repeats[key] > 1:  # the caches and the threads as in a run of such calls
                    timers[key].timeit(max(1, repeats[key] // 10))
                seconds[key].append(timers[key].timeit(repeats[key]) / repeats[key])
        order.append(order.pop(0))
    return {key: Timing.of(taken) for key, taken in seconds.items()}


def _fill_sample(timer: Timer) -> tuple[int, float]:
    """Return how many calls fill a sample, and the seconds they took."""
    repeats, seconds = 1, timer.timeit(1)  # the first call may compile, allocate or start threads
    if seconds > LONG:
        return repeats, seconds
    while (seconds := timer.timeit(repeats)) < SHORTEST:
        repeats = max(repeats + 1, min(10 * repeats, round(1.2 * repeats * SHORTEST / seconds)))
    return repeats, seconds
