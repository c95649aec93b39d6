"""What one measurement works on, whatever the family of kernels: its arrays, the traffic, and the right results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeAlias

import numpy as np

Arrays: TypeAlias = dict[str, np.ndarray]

#: Random numbers are made for so many elements and then repeated: 5e7 of them for each array would take seconds.
PATTERN = 1 << 16


class Workload(ABC):
    """Work on arrays of one size. ``storage`` is the type of those that are large."""

    name: str
    storage: str
    #: Elements of each large array.
    elements: int
    #: The shape as text, where it matters.
    shape: str = ""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """What has to move: everything that is read, and everything that is written."""

    @abstractmethod
    def make_arrays(self) -> Arrays:
        """Return fresh arrays, those for results included."""

    @abstractmethod
    def trial(self) -> Workload:
        """Return the same work of modest size: what every candidate has to do right before it is timed."""

    @abstractmethod
    def expected(self, arrays: Arrays) -> Arrays:
        """Return what the arrays should be afterwards: the plain formula in float64."""

    def magnitude(self, name: str) -> float:
        """Return how large the values of an array are about."""
        return 1.0


def numpy_dtype(storage: str) -> np.dtype:
    """Return NumPy's type; it has bfloat16 from an optional package."""
    if storage != "bfloat16":
        return np.dtype(storage)
    import ml_dtypes  # only here: an optional package

    return np.dtype(ml_dtypes.bfloat16)
