"""The location of arrays, with a clock: the host or a device."""

from __future__ import annotations

from typing import Protocol

from benchmarks.timing import WALL_CLOCK, Clock
from benchmarks.workload import Arrays


class Place(Protocol):
    """A memory with a clock."""

    clock: Clock

    def sets(self, arrays: Arrays) -> list[Arrays]:
        """Return the arrays there, in as many copies as calls should rotate through."""

    def put(self, arrays: Arrays) -> Arrays:
        """Return the arrays there."""

    def get(self, arrays: Arrays) -> Arrays:
        """Return them as NumPy arrays."""


class Host:
    """The host's memory."""

    clock = WALL_CLOCK

    def sets(self, arrays: Arrays) -> list[Arrays]:
        """Return one copy: every call uses arrays cached by the previous one, as in training."""
        return [arrays]

    def put(self, arrays: Arrays) -> Arrays:
        """Return the arrays unchanged."""
        return arrays

    def get(self, arrays: Arrays) -> Arrays:
        """Return the arrays unchanged."""
        return arrays


HOST = Host()
