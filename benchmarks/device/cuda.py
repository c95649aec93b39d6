"""The CUDA driver: events for timing, copies, and the description of the device.

All work is in the default stream, which every library uses unless configured otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from timeit import Timer

from cuda.bindings import driver as cu

from fastopt.device.driver import call, version_of_driver
from fastopt.device.streams import LEGACY


class Events:
    """The device's clock: one event before and one after the calls.

    If a call takes longer on the host than on the device, this is the host's time, since the device waits.
    """

    def __init__(self) -> None:
        self.start, self.stop = (call(cu.cuEventCreate, cu.CUevent_flags.CU_EVENT_DEFAULT.value) for _ in range(2))

    def seconds(self, function: Callable[[], object], calls: int) -> float:
        """Return the time between the two events, without synchronisation in between."""
        call(cu.cuEventRecord, self.start, LEGACY)
        Timer(function).timeit(calls)
        call(cu.cuEventRecord, self.stop, LEGACY)
        call(cu.cuEventSynchronize, self.stop)
        return 1e-3 * float(call(cu.cuEventElapsedTime, self.start, self.stop))


class Calls:
    """The host's clock for calls that return before their work is done."""

    def seconds(self, function: Callable[[], object], calls: int) -> float:
        """Start when the device is idle, and do not synchronise at the end.

        A sample has a few hundred calls; the driver queues about a thousand before a call blocks.
        """
        call(cu.cuCtxSynchronize)
        return Timer(function).timeit(calls)


class Cuda:
    """Device 0, made current in this thread."""

    def __init__(self) -> None:
        call(cu.cuInit, 0)
        self.device = call(cu.cuDeviceGet, 0)
        call(cu.cuCtxSetCurrent, call(cu.cuDevicePrimaryCtxRetain, self.device))  # the context that every library uses
        attribute = cu.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
        self.cache = int(call(cu.cuDeviceGetAttribute, attribute, self.device))
        self.events, self.calls = Events(), Calls()

    def description(self) -> str:
        """Return the driver's description."""
        name = bytes(call(cu.cuDeviceGetName, 128, self.device)).partition(b"\0")[0].decode()
        return f"{name}, L2 cache of {self.cache / 2**20:g} MiB, driver {_release()}for CUDA {version_of_driver()}"

    def copy(self, destination: int, source: int, size: int) -> None:
        """Copy asynchronously, like kernels."""
        call(cu.cuMemcpyDtoDAsync, destination, source, size, LEGACY)


def _release() -> str:
    """Return the driver's version, which it writes to a file."""
    try:
        told = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return ""
    found = re.search(r"\d+\.\d+(\.\d+)?", told)
    return f"{found[0]} " if found else ""
