"""Measures eight interpreters that run Adam at the same time, and the same eight one after the other.

Spinning threads take processors from the threads they wait for: with libgomp, eight processes of 2 threads on 2
processors took 10 to 47 times as long when run at the same time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from time import perf_counter

from benchmarks.effort import Effort
from benchmarks.figure import Figure, ratio
from benchmarks.results import Result, Results
from benchmarks.timing import Timing
from benchmarks.updates.workload import UpdateWorkload
from tests.cases import BY_NAME

PROCESSES = 8

#: Large enough for two threads, and small enough that the arrays of all processes stay in the last-level cache.
WORKLOAD = UpdateWorkload(BY_NAME["adam"], 100_000)

#: About 0.1 s: many time slices of the scheduler
STEPS = 4_000

#: Runs STEPS steps for every line of input, and then prints one.
STEPPER = f"""
import sys
import numpy
import fastopt
arrays = [numpy.ones({WORKLOAD.elements}, numpy.float32) for _ in range(4)]
for step in range(1, 101):
    fastopt.adam(*arrays, step=step)
print(flush=True)
for line in sys.stdin:
    for step in range(1, {STEPS} + 1):
        fastopt.adam(*arrays, step=step)
    print(flush=True)
"""

ONE_BY_ONE, AT_ONCE = f"{PROCESSES} processes, one by one", f"{PROCESSES} processes, at once"


def measure_processes(effort: Effort) -> Iterator[Result]:
    """Time a step of each process, alone and with all others."""
    with ExitStack() as stack:
        steppers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", STEPPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(PROCESSES)
        ]
        for stepper in steppers:
            _wait(stepper)
        seconds: dict[str, list[float]] = {ONE_BY_ONE: [], AT_ONCE: []}
        for _ in range(effort.processes):
            seconds[ONE_BY_ONE].append(sum(_time([stepper]) for stepper in steppers))
            seconds[AT_ONCE].append(_time(steppers))
    for measure, taken in seconds.items():
        of_a_step = [each / (PROCESSES * STEPS) for each in taken]
        yield Result.of(Timing.of(of_a_step), measure, "cython", WORKLOAD)


def _time(steppers: list[subprocess.Popen[str]]) -> float:
    """Return the seconds from starting these processes until the last has finished."""
    start = perf_counter()
    for stepper in steppers:
        stepper.stdin.write("\n")
        stepper.stdin.flush()
    for stepper in steppers:
        _wait(stepper)
    return perf_counter() - start


def _wait(stepper: subprocess.Popen[str]) -> None:
    if not stepper.stdout.readline():
        raise RuntimeError("a process that runs Adam ended early")


def _at_once_over_one_by_one(results: Results) -> float | None:
    return ratio(results.median("cython", AT_ONCE), results.median("cython", ONE_BY_ONE))


PROCESS_FIGURES = [
    Figure(
        f"Adam, 1e5 elements, {PROCESSES} processes at once, time over one by one", _at_once_over_one_by_one, "<=", 1.3
    )
]
