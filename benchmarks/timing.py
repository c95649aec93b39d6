"""Times functions in turns, so that what disturbs the machine disturbs them all."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from typing import Protocol, TypeVar

from benchmarks.effort import Effort

Key = TypeVar("Key", bound=Hashable)

#: A sample takes at least so long, in seconds: as many calls as that needs.
SHORTEST = 2e-3

#: Before each sample, for threads of the one before to fall asleep: those of OpenMP spin for 8 ms after their work.
PAUSE = 15e-3

#: Then calls for so long, untimed, as in a run of such calls: caches fill, and threads wake. On a virtual machine a
#: processor that slept takes 1.5 ms to begin, whoever's thread it is, and calls become faster for some 20 ms
#: (inference, NCHW 32x64x56x56, one call after the other: 2.0, 1.9, 1.8, ..., 1.6 ms; PyTorch's likewise).
WARM_UP = 20e-3

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


class Clock(Protocol):
    """What tells the time."""

    def seconds(self, function: Callable[[], object], calls: int) -> float:
        """Return how long some calls take, one after the other."""


class WallClock:
    """The host's own: for functions that return when their work is done."""

    def seconds(self, function: Callable[[], object], calls: int) -> float:
        """From before the first call until the last has returned.

        A timeit.Timer compiles its loop first, for 0.1 ms between the warm-up and the sample: threads that look for
        work for 0.2 ms are about to sleep by then, and whoever's spin for longer has an advantage.
        """
        collects = gc.isenabled()
        gc.disable()
        try:
            begin = time.perf_counter()
            for _ in repeat(None, calls):
                function()
            return time.perf_counter() - begin
        finally:
            if collects:
                gc.enable()


WALL_CLOCK = WallClock()

#: However long they take.
FEWEST_SAMPLES = 3


def time_in_turns(
    functions: Mapping[Key, Callable[[], object]], effort: Effort, clock: Clock = WALL_CLOCK
) -> dict[Key, Timing]:
    """Take samples of each function: one of each in turn, and every turn begins with another function."""
    repeats, samples, durations = {}, {}, {}
    for key, function in functions.items():
        repeats[key], durations[key] = _fill_sample(function, clock)
        samples[key] = max(FEWEST_SAMPLES, min(effort.samples, int(effort.budget / durations[key])))
    seconds: dict[Key, list[float]] = {key: [] for key in functions}
    order = list(functions)
    for turn in range(max(samples.values(), default=0)):
        for key in order:
            if turn < samples[key]:
                time.sleep(PAUSE)
                _warm_up(functions[key], clock, repeats[key], durations[key])
                seconds[key].append(clock.seconds(functions[key], repeats[key]) / repeats[key])
        order.append(order.pop(0))
    return {key: Timing.of(taken) for key, taken in seconds.items()}


def _warm_up(function: Callable[[], object], clock: Clock, repeats: int, duration: float) -> None:
    """Call for a while; ``repeats`` calls take ``duration``."""
    if duration < LONG:
        clock.seconds(function, max(1, round(repeats * WARM_UP / duration)))


def _fill_sample(function: Callable[[], object], clock: Clock) -> tuple[int, float]:
    """Return how many calls fill a sample, and the seconds they took."""
    repeats = 1
    clock.seconds(function, 1)  # the first call may load, compile, allocate or start threads
    while (seconds := clock.seconds(function, repeats)) < SHORTEST:
        repeats = max(repeats + 1, min(10 * repeats, round(1.2 * repeats * SHORTEST / seconds)))
    return repeats, seconds
