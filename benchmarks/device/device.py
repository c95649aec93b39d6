"""A device as a place to measure in: a library's arrays, timed by the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.device.libraries import Library, find_library
from benchmarks.machine import package_version
from benchmarks.timing import Clock
from benchmarks.workload import Arrays

PACKAGES = ("numba-cuda", "cuda-bindings", "cupy")

#: Calls take turns with arrays of at least so many times the cache together, and find none of theirs there.
CACHES = 4


class Driver(Protocol):
    """What a benchmark needs of the CUDA driver."""

    #: How long the device takes.
    events: Clock
    #: How long the host takes to call, while the device works on its own.
    calls: Clock
    #: Bytes of the L2 cache.
    cache: int

    def description(self) -> str:
        """Return the name of the device, the driver's version, and the cache."""

    def copy(self, destination: int, source: int, size: int) -> None:
        """Put a copy between two addresses of the device into the default stream."""


@dataclass(frozen=True)
class Device:
    """A `benchmarks.place.Place`."""

    driver: Driver
    library: Library
    clock: Clock
    #: Bytes from which the turns of calls are reckoned; 0 if all are on the same arrays.
    cache: int

    def sets(self, arrays: Arrays) -> list[Arrays]:
        """As many as exceed the cache."""
        size = sum(array.nbytes for array in arrays.values())
        return [self.put(arrays) for _ in range(max(1, -(-CACHES * self.cache // size)))]

    def put(self, arrays: Arrays) -> Arrays:
        """Into memory of the library's."""
        return {name: self.library.put(array) for name, array in arrays.items()}

    def get(self, arrays: Arrays) -> Arrays:
        """Back, what is not there already; waits for the device."""
        return {
            name: array if isinstance(array, np.ndarray) else self.library.get(array) for name, array in arrays.items()
        }

    def description(self) -> str:
        """Return what the device is, and the versions that take part beside the host's."""
        versions = {package: package_version(package) for package in PACKAGES}
        if self.library.name == "torch":
            import torch

            versions |= {"torch's CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        return f"{self.driver.description()}, arrays of {self.library.name}, {told}"


def find_device() -> Device:
    """Return the device, or raise what says why there is none."""
    from fastopt.backends import find_backend
    from fastopt.device.select import machine

    machine()
    driver: Driver
    if find_backend("cuda").SIMULATED:
        from benchmarks.device.simulated import LIBRARY, Simulated

        driver, library = Simulated(), LIBRARY
    else:
        from benchmarks.device.cuda import Cuda  # only here: it imports what may be missing

        driver, library = Cuda(), find_library()
    return Device(driver, library, driver.events, driver.cache)
