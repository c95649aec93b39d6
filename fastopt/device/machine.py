"""The interface between the CUDA dispatch and the driver or simulator that runs kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from fastopt.backends.cuda import DeviceKernel

#: A kernel argument for `Machine.launch`.
Argument: TypeAlias = object


class Memory(Protocol):
    """Memory on a device, freed in the order of its stream when no reference remains."""

    address: int


class Machine(Protocol):
    """The operations of a driver or a simulator."""

    def names(self) -> list[str]:
        """Return the names of the devices."""

    def device_of(self, address: int) -> int:
        """Return the number of the device that an address belongs to."""

    def current_device(self) -> int:
        """Return the number of the calling thread's current device."""

    def processors(self, device: int) -> int:
        """Return the number of a device's multiprocessors."""

    def threads(self, wanted: int, least: int) -> int:
        """Return the number of threads per block: as many as wanted, or the minimum."""

    def allocate(self, device: int, stream: int, size: int) -> Memory:
        """Allocate bytes on a device; the memory is valid in the order of a stream."""

    def pointer(self, address: int, storage: str, elements: int) -> Argument:
        """Return a kernel's argument that points to this many elements."""

    def table(self, device: int, stream: int, columns: Sequence[tuple[str, Sequence[int], Sequence[int]]],
              words: Sequence[Sequence[int]]) -> tuple[Argument, ...]:  # fmt: skip
        """Create tables on the device, of pointers (storage type, addresses, numbers of elements) and of words.

        Return a kernel's arguments for them.
        """

    def filled(self, device: int, stream: int, content: bytes) -> Memory:
        """Return memory that holds these bytes; the host's memory is not read after the call."""

    def fetch(self, device: int, stream: int, address: int, storage: str, elements: int) -> np.ndarray[Any, Any]:
        """Synchronise with a stream, and return numbers from the device's memory."""

    def is_capturing(self, device: int, stream: int) -> bool:
        """Return whether a stream is being captured into a graph."""

    def wait(self, device: int, stream: int, other: int) -> None:
        """Make subsequent work on a stream wait for the work on another one."""

    def launch(self, kernel: DeviceKernel, device: int, stream: int, blocks: int, threads: int,
               arguments: Sequence[Argument]) -> None:  # fmt: skip
        """Put a kernel into a stream."""
