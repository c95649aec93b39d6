"""Measures overhead: one small call, the import, and the first update of a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.effort import Effort
from benchmarks.norms.candidates import call as norm_call
from benchmarks.norms.workload import NormWorkload
from benchmarks.results import Result
from benchmarks.timing import Timing, time_in_turns
from benchmarks.updates.workload import UpdateWorkload
from tests.cases import BY_NAME

ADAM = BY_NAME["adam"]

IMPORT = """
import sys
import numpy
from time import perf_counter
start = perf_counter()
import fastopt
print(perf_counter() - start)
assert "numba" not in sys.modules and "torch" not in sys.modules, "import fastopt is not quiet"
"""

FIRST_UPDATE = """
import numpy
import fastopt
from time import perf_counter
param, grad, m, v = (numpy.ones({elements}, numpy.float32) for _ in range(4))
start = perf_counter()
fastopt.adam(param, grad, m, v, step=1)
print(perf_counter() - start)
"""

UPDATE = UpdateWorkload(ADAM, 4)
NORMS = [NormWorkload("batch", direction, "NC", (8, 16)) for direction in ("forward", "backward")]
FIRST = UpdateWorkload(ADAM, 1_000)


def measure_calls(effort: Effort) -> Iterator[Result]:
    """Time calls with few elements, ``import fastopt`` after NumPy, and the first update of a process."""
    calls = {UPDATE: partial(ADAM.update, **UPDATE.make_arrays(), **UPDATE.hyperparameters())}
    calls |= {norm: partial(norm.function, **norm_call(norm, norm.make_arrays())) for norm in NORMS}
    steps = {}
    for workload, default in calls.items():
        steps |= {(workload, "cython"): default, (workload, "numba"): partial(default, backend="numba")}
    for (workload, backend), timing in time_in_turns(steps, effort).items():
        yield Result.of(timing, "call", backend, workload)
    yield Result.of(in_fresh_process(IMPORT, effort), "import", "fastopt")
    timing = in_fresh_process(FIRST_UPDATE.format(elements=FIRST.elements), effort)
    yield Result.of(timing, "first update", "cython", FIRST)


def in_fresh_process(script: str, effort: Effort) -> Timing:
    """Run a script that prints seconds in new interpreters.

    They use compiled bytecode, as users' interpreters do: without it, the import took 49 ms instead of 15.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c"]
    seconds = []
    for _ in range(1 + effort.processes):
        finished = subprocess.run([*command, script], capture_output=True, text=True, check=False, env=environment)
        if finished.returncode:
            raise RuntimeError(f"a measured process failed:\n{finished.stderr}")
        seconds.append(float(finished.stdout))
    return Timing.of(seconds[1:])  # the first one loads files from the disk into memory
