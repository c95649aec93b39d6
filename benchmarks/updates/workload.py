"""An update on arrays of one size: a case of ``tests/cases.py``, a number of elements, and a storage type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.workload import PATTERN, Arrays, Workload, numpy_dtype
from tests.cases import Case
from tests.reference import expected

#: The step of all measurements, in the middle of training: RAdam rectifies from its 6th step.
STEP = 100

#: Enough elements for two threads and a remainder, for any candidate; a prime.
TRIAL = 100_003


@dataclass(frozen=True, eq=False)
class UpdateWorkload(Workload):
    """A case on arrays of one size. ``storage`` is the storage type of param and grad."""

    case: Case
    elements: int
    storage: str = "float32"

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.case.name

    def hyperparameters(self) -> dict[str, Any]:
        """Return the keyword arguments of the measured step."""
        return self.case.hyperparameters(STEP)

    def make_arrays(self) -> Arrays:
        """Return new arrays; the state of bfloat16 parameters is float32."""
        pattern = self.case.make_arrays(min(self.elements, PATTERN))
        if "grad_avg" in pattern:  # a variance, square_avg - grad_avg^2, that float32 can subtract
            pattern["square_avg"] += 1
        return {name: np.resize(array.astype(self._dtype(name)), self.elements) for name, array in pattern.items()}

    def tensors(self, arrays: Arrays) -> list[Arrays]:
        """Return the arrays of each updated tensor."""
        return [arrays]

    def trial(self) -> UpdateWorkload:
        """Return the same update of small arrays."""
        return replace(self, elements=TRIAL)

    def expected(self, arrays: Arrays) -> Arrays:
        """Return the expected result of an update."""
        return expected(self.case, arrays, STEP)

    @property
    def bytes(self) -> int:
        """The memory traffic: every array is read, and all but grad are written."""
        size = {name: self._dtype(name).itemsize for name in self.case.arrays}
        return self.elements * (sum(size.values()) + sum(size[name] for name in self.case.written))

    def _dtype(self, name: str) -> np.dtype:
        if self.storage == "bfloat16" and name not in ("param", "grad"):
            return np.dtype(np.float32)
        return numpy_dtype(self.storage)
