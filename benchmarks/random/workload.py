"""Workloads on random bits: an array to fill, or dropout of another array."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from benchmarks.candidates import Step
from benchmarks.norms.workload import Pass
from benchmarks.verify import TOLERANCE
from benchmarks.workload import PATTERN, Arrays, Workload, numpy_dtype
from fastopt import dropout_backward, dropout_forward, init
from fastopt.reference import random as random_reference

#: Seed and offset of every call
SEED, OFFSET, P = 1, 2, 0.5

#: Elements of a trial: enough for two threads, and not a multiple of a block
TRIAL = 100_003


@dataclass(frozen=True, eq=False)
class RandomWorkload(Workload):
    """``normal`` or ``uniform`` numbers, or ``dropout forward`` or ``backward``."""

    name: str
    elements: int
    storage: str = "float32"

    @property
    def fills(self) -> bool:
        """True if it reads nothing."""
        return not self.name.startswith("dropout")

    @property
    def passes(self) -> list[Pass]:
        """The arrays that are read and written, for the bound."""
        return [((), ("y",)) if self.fills else (("x",), ("y",))]

    @property
    def bytes(self) -> int:
        """The written array, and the one that is read."""
        return self.elements * numpy_dtype(self.storage).itemsize * (1 if self.fills else 2)

    def make_arrays(self) -> Arrays:
        """Return new arrays."""
        dtype = numpy_dtype(self.storage)
        y = np.full(self.elements, np.nan, dtype)
        if self.fills:
            return {"y": y}
        pattern = np.random.default_rng(0).standard_normal(min(self.elements, PATTERN))
        return {"x": np.resize(pattern.astype(dtype), self.elements), "y": y}

    def trial(self) -> RandomWorkload:
        """Return the same workload at a small size."""
        return replace(self, elements=min(self.elements, TRIAL))

    def step(self, arrays: Arrays, backend: Any, threads: int) -> Step:
        """Return fastopt's call."""
        options = {"seed": SEED, "offset": OFFSET, "backend": backend, "num_threads": threads}
        if self.name == "normal":
            return partial(init.normal_, arrays["y"], std=1.0, **options)
        if self.name == "uniform":
            return partial(init.uniform_, arrays["y"], **options)
        function = dropout_forward if self.name == "dropout forward" else dropout_backward
        return partial(function, arrays["x"], p=P, out=arrays["y"], **options)

    def expected(self, arrays: Arrays) -> Arrays:
        """Return the formula's result for the seed and offset."""
        if not self.fills:
            x = arrays["x"].astype(np.float64)
            return {**arrays, "y": random_reference.dropout(x, P, 1 / (1 - P), SEED, OFFSET)}
        formula, *numbers = {
            "normal": (random_reference.normal, 0.0, 1.0),
            "uniform": (random_reference.uniform, 0.0, 1.0),
        }[self.name]
        dtype = "float64" if self.storage == "float64" else "float32"
        return {"y": formula((self.elements,), dtype, SEED, OFFSET, *numbers)}

    # ---- Other libraries draw different numbers, of which only the distribution can be verified.

    def moments(self, arrays: Arrays, y: np.ndarray) -> Arrays:
        """Return statistics of the distribution: mean and variance, or the share of kept elements and their scale."""
        y = y.astype(np.float64)
        if self.fills:
            return {"moments": np.array([y.mean(), y.var()], np.float32)}
        x = arrays["x"].astype(np.float64)
        kept = y != 0
        return {"moments": np.array([kept[x != 0].mean(), (y[kept] / x[kept]).max()], np.float32)}

    def expected_moments(self, arrays: Arrays) -> Arrays:
        """Return the expected moments."""
        moments = {"normal": (0.0, 1.0), "uniform": (0.5, 1 / 12)}.get(self.name, (1 - P, 1 / (1 - P)))
        return {"moments": np.array(moments)}

    def magnitude(self, name: str) -> float:
        """The tolerance is about seven standard errors."""
        return 7 / sqrt(self.elements) / TOLERANCE["float32"] if name == "moments" else 1.0
