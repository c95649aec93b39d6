"""Replaces the CUDA driver if Numba simulates a device: everything works, but times are meaningless."""

from __future__ import annotations

import ctypes
from typing import Any

from benchmarks.device.libraries import Library
from benchmarks.timing import WALL_CLOCK
from tests.cuda.support import OnDevice


class SimulatedArray(OnDevice):
    """A device array over NumPy memory, with the operations that candidates use."""

    def __getitem__(self, key: Any) -> SimulatedArray:
        return SimulatedArray(self.memory[key])

    def reshape(self, shape: tuple[int, ...]) -> SimulatedArray:
        """Return the same elements in another shape."""
        return SimulatedArray(self.memory.reshape(shape))


LIBRARY = Library("NumPy", lambda array: SimulatedArray(array.copy()), lambda array: array.memory)


class Simulated:
    """A device with a cache so small that two sets of arrays exceed it."""

    events = calls = WALL_CLOCK
    cache = 64

    def description(self) -> str:
        """Return a text that can't be mistaken for a device."""
        return "Numba's simulator, whose times mean nothing"

    def copy(self, destination: int, source: int, size: int) -> None:
        """Copy synchronously."""
        ctypes.memmove(destination, source, size)
