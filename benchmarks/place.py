"""Where arrays are, and what tells the time there: the host, or a device."""

from __future__ import annotations

from typing import Protocol

from benchmarks.timing import WALL_CLOCK, Clock
from benchmarks.workload import Arrays


class Place(Protocol):
    """A memory with a clock."""

    clock: Clock

    def sets(self, arrays: Arrays) -> list[Arrays]:
        """Return the arrays there, in as many copies as calls should take turns with."""

    def put(self, arrays: Arrays) -> Arrays:
        """Return the arrays there."""

    def get(self, arrays: Arrays) -> Arrays:
        """Return them as NumPy arrays."""


class Host:
    """The arrays as they are."""

    clock = WALL_CLOCK

    def sets(self, arrays: Arrays) -> list[Arrays]:
        """One: every call finds what the one before has left in the caches, and so it does in a training."""
        return [arrays]

    def put(self, arrays: Arrays) -> Arrays:
        """They are there."""
        return arrays

    def get(self, arrays: Arrays) -> Arrays:
        """They are NumPy's."""
        return arrays


HOST = Host()
