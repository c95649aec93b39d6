"""A workload of any family: its arrays, its memory traffic, and the expected results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

import numpy as np

Arrays: TypeAlias = dict[str, np.ndarray]

#: Number of random values, which are then repeated: 5e7 of them for each array would take seconds.
PATTERN = 1 << 16


class Workload(ABC):
    """Work on arrays of one size. ``storage`` is the storage type of the large ones."""

    name: str
    storage: str
    #: Elements of each large array
    elements: int
    #: The shape as text, if it matters
    shape: str = ""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """The memory traffic: all arrays that are read or written."""

    @abstractmethod
    def make_arrays(self) -> Arrays:
        """Return new arrays, including those for results."""

    @abstractmethod
    def trial(self) -> Workload:
        """Return the same work at a small size, which every candidate must do correctly before it is timed."""

    @abstractmethod
    def expected(self, arrays: Arrays) -> Arrays:
        """Return the expected arrays: the plain formula in float64."""

    def magnitude(self, name: str) -> float:
        """Return the approximate magnitude of an array's values."""
        return 1.0


def numpy_dtype(storage: str) -> np.dtype:
    """Return NumPy's dtype; bfloat16 requires an optional package."""
    if storage != "bfloat16":
        return np.dtype(storage)
    import ml_dtypes  # imported late: an optional package

    return np.dtype(ml_dtypes.bfloat16)
