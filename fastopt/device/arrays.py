"""New arrays on a device, of the same kind as the caller's."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from math import prod
from typing import Any

from fastopt.device.select import machine
from fastopt.device.streams import LEGACY, is_tensor
from fastopt.engine.core.devices import View
from fastopt.specs.dtypes import SIZES, STORAGE


class DeviceArray:
    """An array in newly allocated memory that supports ``__cuda_array_interface__``.

    The memory is freed in the order of the stream on which the array was created.
    """

    def __init__(self, device: int, stream: int, storage: str, shape: tuple[int, ...], strides: tuple[int, ...]):
        size = prod(shape) * SIZES[storage]
        self.shape = shape
        self._stream = stream
        self._memory = machine().allocate(device, stream, size) if size else None
        self.view = View(storage, self._memory.address if self._memory else 0, shape, strides)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        view = self.view
        size = SIZES[view.storage]
        return {
            "shape": view.shape,
            "typestr": STORAGE[view.storage].typestr,
            "data": (view.address, False),
            "strides": tuple(stride * size for stride in view.strides),
            "stream": self._stream,
            "version": 3,
        }


def new(
    like: Any, name: str, storage: str, shape: tuple[int, ...], strides: tuple[int, ...], device: int, stream: int,
    like_name: str = "x",
) -> tuple[Any, View]:  # fmt: skip
    """Return a new device array of the same kind as ``like``, and the location of its elements.

    Its axes have the memory order of the given strides.
    """
    kept = dense(shape, strides)
    if is_tensor(like):
        array = _tensor(storage, shape, kept, device, stream)
        return array, View(storage, array.data_ptr(), shape, kept)
    producer = type(like).__module__.partition(".")[0]
    if producer == "cupy" and STORAGE[storage].typestr:
        array = _cupy_array(storage, shape, kept, device, stream)
        return array, View(storage, int(array.data.ptr), shape, kept)
    if STORAGE[storage].typestr is None:
        what = f"a {type(like).__name__} whose bfloat16 comes through DLPack"
        raise TypeError(f"{name} is None; expected an array for it in out, since {like_name} is {what}")
    array = DeviceArray(device, stream, storage, shape, kept)
    return _as_numbas(array) if producer == "numba" else array, array.view


def dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of an array without gaps, with axes in the order of these strides."""
    found, step = [0] * len(shape), 1
    for axis in sorted(range(len(shape)), key=lambda axis: (abs(strides[axis]), -axis)):
        found[axis] = step
        step *= max(shape[axis], 1)
    return tuple(found)


def _as_numbas(array: DeviceArray) -> Any:
    """Return a Numba device array over the same memory, which it keeps alive, without synchronising with its stream."""
    from numba import cuda

    return cuda.as_cuda_array(array, sync=False)


def _tensor(storage: str, shape: tuple[int, ...], strides: tuple[int, ...], device: int, stream: int) -> Any:
    torch = sys.modules["torch"]
    where = torch.device("cuda", device)
    current = int(torch.cuda.current_stream(device).cuda_stream) or LEGACY
    other = torch.cuda.stream(torch.cuda.ExternalStream(stream, device=where)) if stream != current else nullcontext()
    with other:  # PyTorch's allocator works by streams
        return torch.empty_strided(shape, strides, dtype=getattr(torch, storage), device=where)


def _cupy_array(storage: str, shape: tuple[int, ...], strides: tuple[int, ...], device: int, stream: int) -> Any:
    cupy = sys.modules["cupy"]
    order = sorted(range(len(shape)), key=lambda axis: -strides[axis])
    with cupy.cuda.Device(device), cupy.cuda.ExternalStream(stream):  # CuPy's allocator works by streams
        array = cupy.empty([shape[axis] for axis in order], storage)
    return array.transpose([order.index(axis) for axis in range(len(shape))])
