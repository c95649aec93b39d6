"""The CUDA driver: events that tell the device's time, copies, and what the device is.

All work is in the default stream, where every library puts its own unless it is told otherwise.
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
    """The device's clock, by an event before and one after the calls.

    Where a call takes the host longer than the device, this is the host's time: the device waits for it.
    """

    def __init__(self) -> None:
        self.start, self.stop = (call(cu.cuEventCreate, cu.CUevent_flags.CU_EVENT_DEFAULT.value) for _ in range(2))

    def seconds(self, function: Callable[[], object], calls: int) -> float:
        """From the first event to the second, with calls in between and nothing waited for."""
        call(cu.cuEventRecord, self.start, LEGACY)
        Timer(function).timeit(calls)
        call(cu.cuEventRecord, self.stop, LEGACY)
        call(cu.cuEventSynchronize, self.stop)
        return 1e-3 * float(call(cu.cuEventElapsedTime, self.start, self.stop))


class Calls:
    """The host's clock over calls that return before their work is done."""

    def seconds(self, function: Callable[[], object], calls: int) -> float:
        """Begin when the device is idle, and do not wait for it at the end.

        A sample is some hundred calls; the driver takes about a thousand before a call waits.
        """
        call(cu.cuCtxSynchronize)
        return Timer(function).timeit(calls)


class Cuda:
    """Device 0, current in this thread from now on."""

    def __init__(self) -> None:
        call(cu.cuInit, 0)
        self.device = call(cu.cuDeviceGet, 0)
        call(cu.cuCtxSetCurrent, call(cu.cuDevicePrimaryCtxRetain, self.device))  # that of every library
        attribute = cu.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
        self.cache = int(call(cu.cuDeviceGetAttribute, attribute, self.device))
        self.events, self.calls = Events(), Calls()

    def description(self) -> str:
        """As the driver tells."""
        name = bytes(call(cu.cuDeviceGetName, 128, self.device)).partition(b"\0")[0].decode()
        return f"{name}, L2 cache of {self.cache / 2**20:g} MiB, driver {_release()}for CUDA {version_of_driver()}"

    def copy(self, destination: int, source: int, size: int) -> None:
        """Asynchronous, as kernels are."""
        call(cu.cuMemcpyDtoDAsync, destination, source, size, LEGACY)


def _release() -> str:
    """Return the driver's own version, which it tells in a file."""
    try:
        told = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return ""
    found = re.search(r"\d+\.\d+(\.\d+)?", told)
    return f"{found[0]} " if found else ""
