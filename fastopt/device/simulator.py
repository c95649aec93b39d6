"""Runs kernels in Numba's simulator, on host memory in place of a device's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numba import cuda

from fastopt.backends.cuda import MEMORY, DeviceKernel, function

#: The simulator changes a kernel's globals while it runs, so runs must not overlap.
_one_at_a_time = Lock()


class _Memory:
    def __init__(self, address: int, storage: str, elements: int):
        typestr = np.dtype(MEMORY.get(storage, storage)).str
        self.__array_interface__ = {"shape": (elements,), "typestr": typestr, "data": (address, False), "version": 3}


class _Owned:
    def __init__(self, size: int):
        self.bytes = np.empty(size, np.uint8)
        self.address = self.bytes.ctypes.data


class Simulator:
    """A single device, number 0, with one multiprocessor."""

    def names(self) -> list[str]:
        return ["Numba's simulator"]

    def device_of(self, address: int) -> int:
        return 0

    def current_device(self) -> int:
        return 0

    def processors(self, device: int) -> int:
        """Return 1: a block's threads are threads of the host, and blocks run one by one."""
        return 1

    def threads(self, wanted: int, least: int) -> int:
        """Return a small number, since each thread is a thread of the host."""
        return min(wanted, least)

    def allocate(self, device: int, stream: int, size: int) -> _Owned:
        return _Owned(size)

    def pointer(self, address: int, storage: str, elements: int) -> Any:
        """Return an array: the simulator has no pointers."""
        return np.asarray(_Memory(address, storage, elements))

    def table(self, device: int, stream: int, columns: Sequence[tuple[str, Sequence[int], Sequence[int]]],
              words: Sequence[Sequence[int]]) -> tuple[Any, ...]:  # fmt: skip
        pointers = [
            [self.pointer(address, storage, count) for address, count in zip(addresses, counts, strict=True)]
            for storage, addresses, counts in columns
        ]
        return *pointers, *(np.array(each, np.uint64) for each in words)

    def filled(self, device: int, stream: int, content: bytes) -> _Owned:
        memory = _Owned(len(content))
        memory.bytes[:] = np.frombuffer(content, np.uint8)
        return memory

    def fetch(self, device: int, stream: int, address: int, storage: str, elements: int) -> Any:
        return self.pointer(address, storage, elements).copy()

    def is_capturing(self, device: int, stream: int) -> bool:
        return False

    def wait(self, device: int, stream: int, other: int) -> None:
        """Do nothing: a launch ends before it returns."""

    def launch(self, kernel: DeviceKernel, device: int, stream: int, blocks: int, threads: int,
               arguments: Sequence[Any]) -> None:  # fmt: skip
        """Run a small number of blocks, one by one."""
        given = [
            each if name.endswith("*") else np.dtype(MEMORY[name]).type(each)
            for each, name in zip(arguments, kernel.signature, strict=True)
        ]
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # strides wrap around; kernels do not warn of NaN
            cuda.jit(function(kernel))[min(blocks, 2), threads](*given)
