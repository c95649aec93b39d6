"""Measures the work around an update: gradient accumulation, residual connections, mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from math import prod
from typing import Any

import numpy as np

import fastopt
from benchmarks.candidates import Candidate, Step
from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.figure import Figure, over
from benchmarks.grid import Grid
from benchmarks.results import Result, Results
from benchmarks.workload import PATTERN, Arrays, Workload
from fastopt.engine.rows.gather import gather

MEASURE = "around the step"

#: A function of arrays and a number of threads that returns a function without arguments, which does the work.
Maker = Callable[[Arrays, int], Step]


@dataclass(frozen=True, eq=False)
class Around(Workload):
    """A kind of work on float32 arrays of one shape, or on rows of such an array."""

    name: str
    sizes: tuple[int, ...]
    #: The names of the inputs, and of the result, which is last.
    names: tuple[str, ...]
    #: The reference: a function of copies of the arrays that returns the result.
    formula: Callable[[Arrays], np.ndarray]
    #: Rows of a batch; 0: no batches.
    batch: int = 0
    storage: str = "float32"

    @property
    def shape(self) -> str:
        """The sizes as text."""
        sizes = " x ".join(f"{size:,}" for size in self.sizes)
        return f"{sizes}, batches of {self.batch:,}" if self.batch else sizes

    @property
    def elements(self) -> int:
        """The number of elements of a result."""
        return prod(self.sizes) if not self.batch else self.batch * self.sizes[1]

    @property
    def bytes(self) -> int:
        """The arrays read and written; an accumulated sum replaces one of its terms."""
        return 4 * self.elements * (2 if self.batch else 3)

    def make_arrays(self) -> Arrays:
        """Return new arrays; for batches, also the order of an epoch."""
        rng = np.random.default_rng(0)
        pattern = rng.standard_normal(min(prod(self.sizes), PATTERN)).astype(np.float32)
        arrays = {name: np.resize(np.roll(pattern, i), self.sizes) for i, name in enumerate(self.names)}
        if self.batch:
            arrays["out"] = np.zeros((self.batch, *self.sizes[1:]), np.float32)
            arrays["order"] = rng.permutation(self.sizes[0] // self.batch * self.batch).reshape(-1, self.batch)
        return arrays

    def trial(self) -> Around:
        """Return the same work on fewer rows."""
        rows = min(self.sizes[0], max(4 * self.batch, 1_000_000 // prod(self.sizes[1:])))
        return replace(self, sizes=(rows, *self.sizes[1:]))

    def expected(self, arrays: Arrays) -> Arrays:
        """Return the reference's result."""
        copies = {name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in arrays.items()}
        return copies | {self.names[-1]: self.formula(copies)}


def _relu(x: np.ndarray) -> np.ndarray:
    return np.where(x <= 0, 0, x)


def workloads(size: int) -> list[Around]:
    """Return the work on arrays with this many elements."""
    return [
        Around("accumulate", (size,), ("grad", "acc"), lambda a: a["acc"] + 0.25 * a["grad"]),
        Around("residual add + relu", (size,), ("x", "residual", "out"), lambda a: _relu(a["x"] + a["residual"])),
        Around(
            "residual add + relu backward", (size,), ("dy", "y", "out"), lambda a: np.where(a["y"] <= 0, 0, a["dy"])
        ),
    ]


#: Images of 28 x 28, rows of a table, labels
GATHERED = [
    Around("gather rows", sizes, ("x", "out"), lambda a: a["x"][a["order"][0]], batch)
    for sizes, batch in (((60_000, 784), 256), ((1_000_000, 64), 4096), ((1_000_000, 1), 4096))
]


def _in_order(arrays: Arrays, step: Callable[[np.ndarray], object]) -> Step:
    """Each call takes the next batch of an epoch, whose rows are not cached."""
    batches = cycle(arrays["order"])
    return lambda: step(next(batches))


def _fastopt(a: Arrays, threads: int) -> dict[str, Callable[[], Step]]:
    return {
        "accumulate": lambda: lambda: fastopt.accumulate(a["acc"], a["grad"], alpha=0.25, num_threads=threads),
        "residual add + relu": lambda: (
            lambda: fastopt.residual_add(a["x"], a["residual"], activation="relu", out=a["out"], num_threads=threads)
        ),
        "residual add + relu backward": lambda: (
            lambda: fastopt.residual_add_backward(
                a["dy"], y=a["y"], activation="relu", out=a["out"], num_threads=threads
            )
        ),
        "gather rows": lambda: _in_order(a, lambda rows: gather((a["x"],), (a["out"],), rows, threads)),
    }


def _numpy(a: Arrays, threads: int) -> dict[str, Callable[[], Step]]:
    def accumulate() -> None:
        a["acc"] += np.float32(0.25) * a["grad"]

    def add() -> None:
        np.add(a["x"], a["residual"], out=a["out"])
        np.maximum(a["out"], 0, out=a["out"])

    return {
        "accumulate": lambda: accumulate,
        "residual add + relu": lambda: add,
        "residual add + relu backward": lambda: lambda: np.multiply(a["dy"], a["y"] > 0, out=a["out"]),
        "gather rows": lambda: _in_order(a, lambda rows: np.take(a["x"], rows, axis=0, out=a["out"], mode="clip")),
    }


def _torch(a: Arrays, threads: int) -> dict[str, Callable[[], Step]]:
    import torch  # imported late: an optional package

    torch.set_num_threads(threads)
    t = {name: torch.from_numpy(array) for name, array in a.items()}
    backward = torch.ops.aten.threshold_backward.grad_input
    return {
        "accumulate": lambda: lambda: t["acc"].add_(t["grad"], alpha=0.25),
        "residual add + relu": lambda: lambda: torch.relu_(torch.add(t["x"], t["residual"], out=t["out"])),
        "residual add + relu backward": lambda: lambda: backward(t["dy"], t["y"], 0, grad_input=t["out"]),
        "gather rows": lambda: _in_order(
            a, lambda rows: torch.index_select(t["x"], 0, torch.from_numpy(rows), out=t["out"])
        ),
    }


def _candidate(name: str, makers: Callable[[Arrays, int], dict[str, Callable[[], Step]]]) -> Candidate:
    def make(workload: Any, arrays: Arrays, threads: int) -> Step:
        return makers(arrays, threads)[workload.name]()

    return Candidate(name, make)


CYTHON, NUMPY, TORCH = _candidate("cython", _fastopt), _candidate("numpy", _numpy), _candidate("torch", _torch)


def measure_around(workload: Around, effort: Effort, peers: bool, threads: int) -> Iterator[Result]:
    """Time every candidate on the same arrays."""
    yield from compete(MEASURE, {workload: [CYTHON, NUMPY, *([TORCH] if peers else [])]}, effort, threads)


def around_grid(results: Results) -> Grid:
    """Return a table of times and of fastopt's speedups."""
    headings = ("work", "on", "fastopt, us", "NumPy, us", "PyTorch, us", "over NumPy", "over PyTorch")
    grid = Grid("Around the step: float32, into existing arrays", headings, words=2)
    for row in results.select(measure=MEASURE, candidate="cython"):
        columns = {"measure": MEASURE, "case": row.case, "shape": row.shape}
        times = (results.median(name, **columns) for name in ("cython", "numpy", "torch"))
        ratios = (over(results, name, **columns) for name in ("numpy", "torch"))
        cells = [("" if value is None else f"{1e6 * value:.3g}") for value in times]
        cells += [("" if value is None else f"{value:.2f}") for value in ratios]
        grid.rows.append((row.case, row.shape, *cells))
    return grid


def _over(name: str, shape: str, rival: str) -> Callable[[Results], float | None]:
    return lambda results: over(results, rival, measure=MEASURE, case=name, shape=shape)


AROUND_FIGURES = [
    Figure("Accumulate, 1e7 elements, over PyTorch", _over("accumulate", "10,000,000", "torch"), ">=", 1),
    Figure(
        "Residual add + relu, 1e7 elements, over PyTorch's two calls",
        _over("residual add + relu", "10,000,000", "torch"), ">=", 1.2,
    ),
    *(
        Figure(f"Rows gathered from {work.shape}, over {rival}", _over(work.name, work.shape, name), ">=", limit)
        for work in GATHERED[:2]
        for rival, name, limit in (("NumPy's take", "numpy", 1.2), ("PyTorch's index_select", "torch", 1))
    ),
]  # fmt: skip
