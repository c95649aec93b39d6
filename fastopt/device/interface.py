"""Reads ``__cuda_array_interface__`` (versions 2 and 3), which Numba's device arrays offer and DLPack they do not."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.device.machine import machine

FLOATS = {"<f2", "<f4", "<f8"}


class _Memory:
    """What NumPy asks for an array's memory, which it does not read."""

    def __init__(self, interface: dict[str, Any], producer: Any):
        self.__array_interface__ = interface
        self.producer = producer  # lives as long as an array over its memory


def import_array(producer: Any, name: str) -> tuple[np.ndarray[Any, Any], int]:
    """Return an ndarray over the producer's memory, at which no one may look, and the number of its device."""
    try:
        given = producer.__cuda_array_interface__
        shape, typestr, (address, read_only) = given["shape"], given["typestr"], given["data"]
        strides, mask = given.get("strides"), given.get("mask")
    except Exception as error:
        what = f"{name} is a {type(producer).__name__} whose __cuda_array_interface__ can't be read: {error}"
        raise TypeError(what) from error
    if mask is not None:
        raise TypeError(f"{name} is a masked array; expected a plain array")
    if typestr not in FLOATS:
        raise TypeError(f"{name} has dtype {typestr}; expected float16, bfloat16 (through DLPack), float32 or float64")
    if 0 in shape:
        return np.empty(shape, typestr), machine().current_device()
    if not address:
        raise ValueError(
            f"{name} has no memory of its own (its address is 0); expected an array that holds its elements"
        )
    interface = {"shape": shape, "typestr": typestr, "data": (address, read_only), "strides": strides, "version": 3}
    return np.asarray(_Memory(interface, producer)), machine().device_of(address)
