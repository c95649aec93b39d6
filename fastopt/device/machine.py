"""What runs kernels on devices, as the rest of the CUDA dispatch sees it: a driver, or a simulator in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from fastopt.backends.cuda import DeviceKernel

#: An argument of a kernel as `Machine.launch` takes it.
Argument: TypeAlias = object


class Memory(Protocol):
    """Memory on a device, given back in the order of its stream when nobody refers to it."""

    address: int


class Machine(Protocol):
    """What a driver does, and a simulator too."""

    def names(self) -> list[str]:
        """Return what the devices are called."""

    def device_of(self, address: int) -> int:
        """Return the number of the device to whose memory an address belongs."""

    def current_device(self) -> int:
        """Return the number of the device that the calling thread uses."""

    def processors(self, device: int) -> int:
        """Return how many multiprocessors a device has."""

    def threads(self, wanted: int, least: int) -> int:
        """Return how many threads a block should have: as many as wanted, or as few as will do."""

    def allocate(self, device: int, stream: int, size: int) -> Memory:
        """Return so many bytes of a device's memory, good from now on in the order of a stream."""

    def pointer(self, address: int, storage: str, elements: int) -> Argument:
        """Return a kernel's argument that points to so many elements."""

    def table(self, device: int, stream: int, columns: Sequence[tuple[str, Sequence[int], Sequence[int]]],
              words: Sequence[Sequence[int]]) -> tuple[Argument, ...]:  # fmt: skip
        """Make tables on the device, of pointers (what is stored there, addresses, elements) and of words.

        Return a kernel's arguments for them.
        """

    def filled(self, device: int, stream: int, content: bytes) -> Memory:
        """Return memory that holds these bytes, without a look at the host's memory after the call."""

    def fetch(self, device: int, stream: int, address: int, storage: str, elements: int) -> np.ndarray[Any, Any]:
        """Wait for all that is in a stream, and return numbers of the device's memory."""

    def is_capturing(self, device: int, stream: int) -> bool:
        """Return whether what is put into a stream becomes part of a graph, and runs when that is replayed."""

    def wait(self, device: int, stream: int, other: int) -> None:
        """Let what follows on a stream begin after what is on another one."""

    def launch(self, kernel: DeviceKernel, device: int, stream: int, blocks: int, threads: int,
               arguments: Sequence[Argument]) -> None:  # fmt: skip
        """Put a kernel into a stream."""
