"""Measures a user's rule: its speed relative to the built-in update, and its first call in a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from tempfile import TemporaryDirectory

from benchmarks.calls import in_fresh_process
from benchmarks.candidates import Candidate, Step
from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.figure import Figure, once, ratio
from benchmarks.results import Result, Results
from benchmarks.updates.candidates import CYTHON
from benchmarks.updates.own_rule import adam
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.workload import Arrays
from tests.cases import BY_NAME

SIZES = (1_000_000, 50_000_000)

UPDATE, COMPILED, KEPT = "rule", "first call of a rule, compiled", "first call of a rule, kept on disk"

#: Prints the seconds of a process's first call of a rule, compiled or loaded from the disk cache.
FIRST_CALL = """
import os, shutil
os.environ["FASTOPT_CACHE_DIR"] = {folder!r}
import numpy
import fastopt
from benchmarks.updates.own_rule import adam
{imports}
if {compiled}:
    shutil.rmtree({folder!r}, ignore_errors=True)
from time import perf_counter
arrays = [numpy.ones(1000, numpy.float32) for _ in range(4)]
start = perf_counter()
adam(*arrays, step=1)
print(perf_counter() - start)
"""


def _adam(workload: UpdateWorkload, arrays: Arrays, threads: int) -> Step:
    return partial(adam, *arrays.values(), **workload.hyperparameters(), num_threads=threads)


RULE = Candidate("rule", _adam)


def measure_rule(elements: int, effort: Effort, threads: int) -> Iterator[Result]:
    """Time Adam as a user's rule, and the built-in one."""
    yield from compete(UPDATE, {UpdateWorkload(BY_NAME["adam"], elements): [CYTHON, RULE]}, effort, threads)


def measure_first_calls(effort: Effort) -> Iterator[Result]:
    """Time the first call of a rule, including Numba's import if necessary, with and without the cache."""
    with TemporaryDirectory() as folder:
        for measure in (COMPILED, KEPT):
            for candidate, imports in (("rule", ""), ("rule, Numba imported", "import numba")):
                script = FIRST_CALL.format(folder=folder, imports=imports, compiled=measure == COMPILED)
                yield Result.of(in_fresh_process(script, effort), measure, candidate)


def _over_built_in(elements: int) -> Callable[[Results], float | None]:
    columns = {"measure": UPDATE, "elements": elements}
    return lambda results: ratio(results.median("rule", **columns), results.median("cython", **columns))


RULE_FIGURES = [
    Figure("A user's Adam, 1e6 elements, time over the built-in", _over_built_in(SIZES[0]), "<=", 1.1),
    Figure("A user's Adam, 5e7 elements, time over the built-in", _over_built_in(SIZES[1]), "<=", 1.1),
    Figure("First call of a user's rule, to be compiled", once("rule", COMPILED, 1.0), "<=", 2, "s"),
    Figure("First call of a user's rule, kept on disk", once("rule", KEPT, 1e3), "<=", 150, "ms"),
]
