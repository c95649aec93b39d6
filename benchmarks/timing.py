"""Times functions in turns, so that disturbances of the machine affect all of them."""

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

#: The minimum duration of a sample, in seconds; it has as many calls as that requires.
SHORTEST = 2e-3

#: Pause before each sample, so that threads of the previous one block: OpenMP's spin for 8 ms after their work.
PAUSE = 15e-3

#: Duration of untimed calls after the pause: caches fill, and threads wake. On a virtual machine, an idle processor
#: needs 1.5 ms to start, for any library's thread, and calls become faster for about 20 ms (inference, NCHW
#: 32x64x56x56, consecutive calls: 2.0, 1.9, 1.8, ..., 1.6 ms; PyTorch's likewise).
WARM_UP = 20e-3

#: A call that takes longer needs no warm-up.
LONG = 0.1


@dataclass(frozen=True)
class Timing:
    """The seconds per call, over several samples."""

    samples: int
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summarise the samples."""
        return cls(len(seconds), min(seconds), median(seconds), max(seconds))


class Clock(Protocol):
    """A clock."""

    def seconds(self, function: Callable[[], object], calls: int) -> float:
        """Return the duration of several consecutive calls."""


class WallClock:
    """The host's clock, for functions that return when their work is done."""

    def seconds(self, function: Callable[[], object], calls: int) -> float:
        """Return the time from before the first call until the last has returned.

        A timeit.Timer would compile its loop for 0.1 ms between the warm-up and the sample: by then, threads that spin
        for 0.2 ms are about to block, and libraries with longer spin times have an advantage.
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

#: The minimum number of samples, regardless of their duration
FEWEST_SAMPLES = 3


def time_in_turns(
    functions: Mapping[Key, Callable[[], object]], effort: Effort, clock: Clock = WALL_CLOCK
) -> dict[Key, Timing]:
    """Take samples of each function in turn; every turn starts with another function."""
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
    """Call repeatedly, for the duration; ``repeats`` calls take ``duration``."""
    if duration < LONG:
        clock.seconds(function, max(1, round(repeats * WARM_UP / duration)))


def _fill_sample(function: Callable[[], object], clock: Clock) -> tuple[int, float]:
    """Return the number of calls of a sample, and their duration in seconds."""
    repeats = 1
    clock.seconds(function, 1)  # the first call may load, compile, allocate or start threads
    while (seconds := clock.seconds(function, repeats)) < SHORTEST:
        repeats = max(repeats + 1, min(10 * repeats, round(1.2 * repeats * SHORTEST / seconds)))
    return repeats, seconds
