"""What one measurement works on: a case of ``tests/cases.py``, a number of elements, and how they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tests.cases import Case

Arrays: TypeAlias = dict[str, np.ndarray]

#: Every measured step is this one, in the middle of a training: RAdam rectifies from its 6th step on.
STEP = 100

#: Random numbers are made for so many elements and then repeated: 5e7 of them for each array would take seconds.
PATTERN = 1 << 16


@dataclass(frozen=True, eq=False)
class Workload:
    """A case on arrays of one size. ``storage`` is what param and grad are stored as."""

    case: Case
    elements: int
    storage: str = "float32"

    def hyperparameters(self) -> dict[str, Any]:
        """Return the keyword arguments of the measured step."""
        return self.case.hyperparameters(STEP)

    def make_arrays(self) -> Arrays:
        """Return fresh arrays; the state of bfloat16 parameters is float32."""
        pattern = self.case.make_arrays(min(self.elements, PATTERN))
        if "grad_avg" in pattern:  # a variance, square_avg - grad_avg^2, that float32 can subtract
            pattern["square_avg"] += 1
        return {name: np.resize(array.astype(self._dtype(name)), self.elements) for name, array in pattern.items()}

    @property
    def bytes(self) -> int:
        """What an update has to move: every array is read, and all but grad are written."""
        size = {name: self._dtype(name).itemsize for name in self.case.arrays}
        return self.elements * (sum(size.values()) + sum(size[name] for name in self.case.written))

    def _dtype(self, name: str) -> np.dtype:
        if self.storage != "bfloat16":
            return np.dtype(self.storage)
        import ml_dtypes  # only here: an optional package

        return np.dtype(ml_dtypes.bfloat16) if name in ("param", "grad") else np.dtype(np.float32)
