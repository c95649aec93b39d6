"""Simulated device arrays over NumPy memory, where the simulator's kernels run."""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

from tests.cases import Case

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class OnDevice:
    """What Numba's device arrays show of themselves."""

    def __init__(self, memory: np.ndarray, **more: Any):
        self.memory, self.more = memory, more

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        memory = self.memory
        return {
            "shape": memory.shape,
            "typestr": memory.dtype.str,
            "strides": memory.strides,
            "data": (memory.ctypes.data if memory.size else 0, not memory.flags.writeable),
            "version": 3,
            **self.more,
        }


class Nowhere:
    """An array at an address where nothing is: whoever read it on the host would end the process."""

    def __init__(
        self, address: int, shape: tuple[int, ...], typestr: str = "<f4", strides: tuple[int, ...] | None = None
    ):
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": typestr, "data": (address, False), "strides": strides, "version": 3,
        }  # fmt: skip


class Tensor(ctypes.Structure):
    """A DLTensor of dlpack.h, as far as it is looked into."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
    )  # fmt: skip


class Exported:
    """What CuPy's and PyTorch's device arrays do: DLPack, bfloat16 included, on a device of any number."""

    def __init__(self, memory: np.ndarray, device: int = 0):
        self.memory, self.device = memory, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None) -> Any:
        assert stream == -1, "a stream other than the producer's would be waited for"
        is_bfloat16 = self.memory.dtype == BFLOAT16
        capsule = (self.memory.view("u2") if is_bfloat16 else self.memory).__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        tensor = Tensor.from_address(pointer(capsule, b"dltensor"))
        tensor.device_type, tensor.device_id = 2, self.device
        tensor.code = 4 if is_bfloat16 else tensor.code
        return capsule


def on_device(array: np.ndarray) -> OnDevice | Exported:
    """The array as a device's: through DLPack where nothing else tells bfloat16."""
    return Exported(array) if array.dtype == BFLOAT16 else OnDevice(array)


def run_on_device(case: Case, arrays: dict[str, np.ndarray], step: int = 3, **options: Any) -> None:
    """Make one step of a case over a device's arrays."""
    case.run({name: on_device(array) for name, array in arrays.items()}, step, **options)
