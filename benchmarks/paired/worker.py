"""The process of one build. It prints its rows, and answers each name with a digest the first time, then with times."""

from __future__ import annotations

import gc
import json
import sys
from itertools import count
from time import perf_counter

from benchmarks.bits.digest import digest
from benchmarks.paired.rows import ROWS, Row

#: Duration of a row in seconds, after untimed calls of this duration
TIMED, WARM_UP = 0.04, 0.015

#: Duration of a sample in seconds
SAMPLE = 2e-3

#: Calls before the digest is computed
CHECKED = 3


class TimedRow:
    """A row with its arrays, and the number of calls per sample."""

    def __init__(self, row: Row) -> None:
        self.call, written = row
        self.steps = count(1)
        self.seconds(CHECKED)
        self.digest = digest(written())
        self.calls = 1
        while (seconds := self.seconds(self.calls)) < SAMPLE:
            self.calls = max(self.calls + 1, min(10 * self.calls, round(1.2 * self.calls * SAMPLE / seconds)))

    def seconds(self, calls: int) -> float:
        """Return the duration of several consecutive calls."""
        call, steps = self.call, self.steps
        begin = perf_counter()
        for _ in range(calls):
            call(next(steps))
        return perf_counter() - begin

    def samples(self) -> list[float]:
        """Return the seconds per call, for each sample of a round."""
        end = perf_counter() + WARM_UP
        self.seconds(1)
        while perf_counter() < end:
            self.seconds(self.calls)
        end, samples = perf_counter() + TIMED, []
        while not samples or perf_counter() < end:
            samples.append(self.seconds(self.calls) / self.calls)
        return samples


def main() -> None:
    """Answer until the end of the input."""
    rows: dict[str, TimedRow] = {}
    gc.disable()
    print(json.dumps(list(ROWS)), flush=True)
    for line in sys.stdin:
        name = line.rstrip("\n")
        if name in rows:
            answer: object = rows[name].samples()
        else:
            rows[name] = TimedRow(ROWS[name]())
            answer = rows[name].digest
        print(json.dumps(answer), flush=True)
