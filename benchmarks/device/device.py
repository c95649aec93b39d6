"""A device as the place of a measurement: a library's arrays, timed by the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.device.libraries import Library, find_library
from benchmarks.machine import package_version
from benchmarks.timing import Clock
from benchmarks.workload import Arrays

PACKAGES = ("numba-cuda", "cuda-bindings", "cupy")

#: Calls rotate through sets of arrays with at least this many times the cache's size, so that none is cached.
CACHES = 4


class Driver(Protocol):
    """The operations of the CUDA driver that a benchmark needs."""

    #: The device's time
    events: Clock
    #: The host's time per call, while the device works asynchronously
    calls: Clock
    #: Size of the L2 cache in bytes
    cache: int

    def description(self) -> str:
        """Return the device's name, the driver's version, and the size of the cache."""

    def copy(self, destination: int, source: int, size: int) -> None:
        """Put a copy between two device addresses into the default stream."""


@dataclass(frozen=True)
class Device:
    """A `benchmarks.place.Place`."""

    driver: Driver
    library: Library
    clock: Clock
    #: Size of the sets of arrays that calls rotate through; 0: all calls use the same arrays.
    cache: int

    def sets(self, arrays: Arrays) -> list[Arrays]:
        """Return enough sets to exceed the cache."""
        size = sum(array.nbytes for array in arrays.values())
        return [self.put(arrays) for _ in range(max(1, -(-CACHES * self.cache // size)))]

    def put(self, arrays: Arrays) -> Arrays:
        """Copy to the library's memory."""
        return {name: self.library.put(array) for name, array in arrays.items()}

    def get(self, arrays: Arrays) -> Arrays:
        """Return the arrays in host memory, copied if necessary. A copy synchronises."""
        return {
            name: array if isinstance(array, np.ndarray) else self.library.get(array) for name, array in arrays.items()
        }

    def description(self) -> str:
        """Return the device's description, and the versions of additional packages."""
        versions = {package: package_version(package) for package in PACKAGES}
        if self.library.name == "torch":
            import torch

            versions |= {"torch's CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        return f"{self.driver.description()}, arrays of {self.library.name}, {told}"


def find_device() -> Device:
    """Return the device, or raise an error with the reason why there is none."""
    from fastopt.backends import find_backend
    from fastopt.device.select import machine

    machine()
    driver: Driver
    if find_backend("cuda").SIMULATED:
        from benchmarks.device.simulated import LIBRARY, Simulated

        driver, library = Simulated(), LIBRARY
    else:
        from benchmarks.device.cuda import Cuda  # imported late: its imports may be missing

        driver, library = Cuda(), find_library()
    return Device(driver, library, driver.events, driver.cache)
