"""Runs kernels on CUDA devices by direct calls of the driver: Numba's own launches take many times as long.

Only `Driver.fetch` waits for a device.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from threading import local
from typing import Any

import numpy as np
from cuda.bindings import driver as cu

from fastopt.backends.cuda import INSTALL, NUMBA_CUDA, DeviceKernel, machine_code, packing
from fastopt.codegen.cuda.update import WORDS, Words
from fastopt.device.streams import LEGACY
from fastopt.errors import BackendUnavailable

#: The options that tell cuLaunchKernel that the arguments are in one buffer.
_BUFFER, _BUFFER_SIZE, _END = 1, 2, 0

#: The attribute that cuPointerGetAttribute returns.
_ORDINAL = cu.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL


class Driver:
    """The CUDA driver: all devices and the loaded kernels."""

    def __init__(self) -> None:
        try:
            (status,) = cu.cuInit(0)
        except Exception as error:
            raise BackendUnavailable(
                f"backend 'cuda' needs an NVIDIA driver, which was not found ({error}); "
                f"numba-cuda is version {NUMBA_CUDA}, installed with {INSTALL}"
            ) from error
        if status != cu.CUresult.CUDA_SUCCESS:
            raise BackendUnavailable(
                f"backend 'cuda' finds no usable device ({status.name}): numba-cuda is version {NUMBA_CUDA}, "
                f"the driver supports CUDA {version_of_driver()}; install numba-cuda with {INSTALL}"
            )
        self.devices = [_Device(number) for number in range(call(cu.cuDeviceGetCount))]

    def names(self) -> list[str]:
        return [device.name for device in self.devices]

    def device_of(self, address: int) -> int:
        """Query the driver, which knows the bounds of all allocations."""
        status, ordinal = cu.cuPointerGetAttribute(_ORDINAL, address)  # not by `call`, since this runs for every array
        if status:
            raise RuntimeError(f"cuPointerGetAttribute failed: {status.name}")
        return int(ordinal)

    def current_device(self) -> int:
        context = call(cu.cuCtxGetCurrent)
        return int(call(cu.cuCtxGetDevice)) if int(context) else 0

    def processors(self, device: int) -> int:
        return self.devices[device].processors

    def threads(self, wanted: int, least: int) -> int:
        return wanted

    def allocate(self, device: int, stream: int, size: int) -> _Owned:
        """Allocate from the device's pool; nothing waits for that."""
        return _Owned(self.devices[device], stream, size)

    def pointer(self, address: int, storage: str, elements: int) -> int:
        return address

    def table(self, device: int, stream: int, columns: Sequence[tuple[str, Sequence[int], Sequence[int]]],
              words: Sequence[Sequence[int]]) -> tuple[int | _Part, ...]:  # fmt: skip
        """Return addresses in one allocation, which launches fill: their arguments are the words."""
        rows = [*(addresses for _, addresses, _ in columns), *words]
        memory = self._filled(device, stream, [word for row in rows for word in row])
        begins = accumulate(map(len, rows[:-1]), initial=0)
        return tuple(_Part(memory, memory.address + 8 * begin) for begin in begins)

    def filled(self, device: int, stream: int, content: bytes) -> _Owned:
        """Copy the bytes by the arguments of launches."""
        padded = content + b"\0" * (-len(content) % 8)
        return self._filled(device, stream, list(struct.unpack(f"={len(padded) // 8}Q", padded)))

    def _filled(self, device: int, stream: int, words: list[int]) -> _Owned:
        words += [0] * (-len(words) % WORDS)
        memory = self.allocate(device, stream, 8 * len(words))
        for begin in range(0, len(words), WORDS):
            part = [memory.address + 8 * begin, *words[begin : begin + WORDS]]
            self.launch(Words(), device, stream, 1, 1, part)
        return memory

    def fetch(self, device: int, stream: int, address: int, storage: str, elements: int) -> np.ndarray[Any, Any]:
        numbers = np.empty(elements, "u8" if storage == "word" else storage)
        with self.devices[device].current():
            call(cu.cuMemcpyDtoHAsync, numbers.ctypes.data, address, numbers.nbytes, stream)
            call(cu.cuStreamSynchronize, stream)
        return numbers

    def is_capturing(self, device: int, stream: int) -> bool:
        """Query the driver; the default stream can't be captured."""
        if stream == LEGACY:
            return False
        with self.devices[device].current():
            return bool(call(cu.cuStreamIsCapturing, stream) != cu.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE)

    def wait(self, device: int, stream: int, other: int) -> None:
        """Use an event: streams wait, the host does not."""
        with self.devices[device].current():
            event = call(cu.cuEventCreate, cu.CUevent_flags.CU_EVENT_DISABLE_TIMING.value)
            call(cu.cuEventRecord, event, other)
            call(cu.cuStreamWaitEvent, stream, event, 0)
            call(cu.cuEventDestroy, event)  # takes effect after the event has occurred

    def launch(self, kernel: DeviceKernel, device: int, stream: int, blocks: int, threads: int,
               arguments: Sequence[Any]) -> None:  # fmt: skip
        used = self.devices[device]
        function, layout = used.kernel(kernel)
        with used.current():
            buffer = _buffers.of_size(layout.size)
            layout.pack_into(buffer.memory, 0, *arguments)
            call(cu.cuLaunchKernel, function, blocks, 1, 1, threads, 1, 1, 0, stream, 0, buffer.extra)


class _Device:
    """One device: its primary context, which it shares with all libraries, and its loaded kernels."""

    def __init__(self, number: int):
        self.number = number
        self.handle = call(cu.cuDeviceGet, number)
        self.kernels: dict[DeviceKernel, tuple[Any, struct.Struct]] = {}

    @cached_property
    def context(self) -> Any:
        return call(cu.cuDevicePrimaryCtxRetain, self.handle)

    @cached_property
    def processors(self) -> int:
        return self._attribute("MULTIPROCESSOR_COUNT")

    @cached_property
    def compute_capability(self) -> tuple[int, int]:
        return self._attribute("COMPUTE_CAPABILITY_MAJOR"), self._attribute("COMPUTE_CAPABILITY_MINOR")

    @property
    def name(self) -> str:
        model = call(cu.cuDeviceGetName, 100, self.number).split(b"\0")[0].decode()
        return f"{model}, compute capability {'.'.join(map(str, self.compute_capability))}"

    def _attribute(self, name: str) -> int:
        attribute = getattr(cu.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(call(cu.cuDeviceGetAttribute, attribute, self.handle))

    def current(self) -> _Current:
        return _Current(self.context)

    def kernel(self, kernel: DeviceKernel) -> tuple[Any, struct.Struct]:
        """Return a loaded kernel, which is compiled on first use, and the layout of its parameters."""
        found = self.kernels.get(kernel)
        if found is None:
            binary, name = machine_code(kernel, self.compute_capability)
            with self.current():
                library = call(cu.cuLibraryLoadData, binary, [], [], 0, [], [], 0)
                function = call(cu.cuKernelGetFunction, call(cu.cuLibraryGetKernel, library, name.encode()))
            found = self.kernels[kernel] = function, struct.Struct(packing(kernel))
        return found


class _Current:
    """Make a context current if necessary. A generator would take 2 us longer, and a norm enters 7 times."""

    __slots__ = ("context", "pushed")

    def __init__(self, context: Any):
        self.context = context

    def __enter__(self) -> None:
        self.pushed = int(call(cu.cuCtxGetCurrent)) != int(self.context)
        if self.pushed:
            call(cu.cuCtxPushCurrent, self.context)

    def __exit__(self, *_: object) -> None:
        if self.pushed:
            call(cu.cuCtxPopCurrent)


# ---- Memory


class _Owned:
    """Bytes on a device, freed in the order of the stream for which they were allocated."""

    def __init__(self, device: _Device, stream: int, size: int):
        self.device, self.stream = device, stream
        with device.current():
            self.address = int(call(cu.cuMemAllocAsync, size, stream))

    def __del__(self) -> None:
        if hasattr(self, "address"):
            with self.device.current():
                cu.cuMemFreeAsync(self.address, self.stream)


class _Part(int):
    """An address in memory, which it keeps alive."""

    memory: _Owned

    def __new__(cls, memory: _Owned, address: int) -> _Part:
        part = super().__new__(cls, address)
        part.memory = memory
        return part


class _Buffer:
    """A buffer for the parameters of a launch, with the options for cuLaunchKernel."""

    def __init__(self, size: int):
        self.memory = ctypes.create_string_buffer(size)
        self.size = ctypes.c_size_t(size)
        self._extra = (ctypes.c_void_p * 5)(
            _BUFFER, ctypes.addressof(self.memory), _BUFFER_SIZE, ctypes.addressof(self.size), _END
        )
        self.extra = ctypes.addressof(self._extra)


class _Buffers(local):
    """A thread's buffers, reused because a launch copies its parameters before it returns."""

    def __init__(self) -> None:
        self.by_size: dict[int, _Buffer] = {}

    def of_size(self, size: int) -> _Buffer:
        """Return a buffer of this size."""
        buffer = self.by_size.get(size)
        if buffer is None:
            buffer = self.by_size[size] = _Buffer(size)
        return buffer


_buffers = _Buffers()


# ---- Calls


def call(function: Any, *arguments: Any) -> Any:
    """Call the driver and return its result, or raise its error."""
    results = function(*arguments)
    if results[0]:
        raise RuntimeError(f"{function.__name__} failed: {results[0].name}")
    return results[1] if len(results) > 1 else None


def version_of_driver() -> str:
    """Return the newest version of CUDA that the driver supports."""
    status, version = cu.cuDriverGetVersion()
    return f"{version // 1000}.{version % 1000 // 10}" if status == cu.CUresult.CUDA_SUCCESS else "of unknown version"
