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

#: Before each sample, for threads of the one before to fall asleep: those of OpenMP spin for 8 ms after their work.
PAUSE = 15e-3

#: Then calls for so long, untimed, as in a run of such calls: caches fill, and threads wake. On a virtual machine a
#: processor that slept takes 1.5 ms to begin, whoever's thread it is.
WARM_UP = 5e-3

#: What takes longer at a call is its own warm-up.
LONG = 0.1


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
    repeats, samples, durations = {}, {}, {}
    for key, timer in timers.items():
        repeats[key], durations[key] = _fill_sample(timer)
        samples[key] = max(FEWEST_SAMPLES, min(effort.samples, int(effort.budget / durations[key])))
    seconds: dict[Key, list[float]] = {key: [] for key in timers}
    order = list(timers)
    for turn in range(max(samples.values())):
        for key in order:
            if turn < samples[key]:
                time.sleep(PAUSE)
                _warm_up(timers[key], repeats[key], durations[key])
                seconds[key].append(timers[key].timeit(repeats[key]) / repeats[key])
        order.append(order.pop(0))
    return {key: Timing.of(taken) for key, taken in seconds.items()}


def _warm_up(timer: Timer, repeats: int, duration: float) -> None:
    """Call for a while; ``repeats`` calls take ``duration``."""
    if duration < LONG:
        timer.timeit(max(1, round(repeats * WARM_UP / duration)))


def _fill_sample(timer: Timer) -> tuple[int, float]:
    """Return how many calls fill a sample, and the seconds they took."""
    repeats = 1
    timer.timeit(1)  # the first call may load, compile, allocate or start threads
    while (seconds := timer.timeit(repeats)) < SHORTEST:
        repeats = max(repeats + 1, min(10 * repeats, round(1.2 * repeats * SHORTEST / seconds)))
    return repeats, seconds
