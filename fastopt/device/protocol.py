"""Reads ``__cuda_array_interface__`` (versions 2 and 3), the only interface of Numba's device arrays."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from fastopt.device.select import machine
from fastopt.specs.dtypes import FLOATS, STORAGES

#: The interface's names of the storage types.
_TYPESTRS = {storage.typestr for storage in STORAGES}
_EXPECTED = FLOATS.replace("bfloat16", "bfloat16 (through DLPack)")


class _Memory:
    """The description of an array's memory for NumPy, which does not read the memory."""

    def __init__(self, interface: dict[str, Any], producer: Any):
        self.__array_interface__ = interface
        self.producer = producer  # must live as long as an array over its memory


def _check_places(name: str, shape: Any, strides: Any, itemsize: int) -> None:
    """Raise unless the shape and strides are valid for an ndarray."""
    for what, given, least in (("shape", shape, 0), ("strides", strides, None)):
        if given is None and least is None:
            continue
        if not isinstance(given, (tuple, list)) or not all(isinstance(each, int) for each in given):
            raise TypeError(f"{name} has {what} {given!r}; expected whole numbers")
        if least is not None and min(given, default=0) < least:
            raise ValueError(f"{name} has shape {tuple(given)}; expected extents of 0 or more")
    if len(shape) > 64 or (strides is not None and len(strides) != len(shape)):
        raise ValueError(
            f"{name} has {len(shape)} extents and strides {strides}; expected 64 at most, and as many strides"
        )
    steps = [0] * len(shape) if strides is None else strides
    elements = math.prod(max(extent, 1) for extent in shape)
    reach = sum(abs(step) * max(extent - 1, 0) for step, extent in zip(steps, shape, strict=True))
    if max(elements * itemsize, reach + itemsize, *map(abs, steps)) > sys.maxsize:
        raise ValueError(
            f"{name} has shape {tuple(shape)} and strides {strides}; expected an array of less than 2**63 bytes"
        )


def import_array(producer: Any, name: str) -> tuple[np.ndarray[Any, Any], int]:
    """Return an ndarray over the producer's memory, which must not be accessed, and the number of its device."""
    try:
        given = producer.__cuda_array_interface__
        shape, typestr, (address, read_only) = given["shape"], given["typestr"], given["data"]
        strides, mask = given.get("strides"), given.get("mask")
    except Exception as error:
        what = f"{name} is a {type(producer).__name__} whose __cuda_array_interface__ can't be read: {error}"
        raise TypeError(what) from error
    if mask is not None:
        raise TypeError(f"{name} is a masked array; expected a plain array")
    if typestr not in _TYPESTRS:
        raise TypeError(f"{name} has dtype {typestr}; expected {_EXPECTED}")
    _check_places(name, shape, strides, int(typestr[2:]))
    if 0 in shape:
        return np.empty(shape, typestr), machine().current_device()
    if not isinstance(address, int) or not 0 <= address < 2**64:
        raise TypeError(f"{name} is at address {address!r}; expected a whole number of 64 bits")
    if not address:
        raise ValueError(
            f"{name} has no memory of its own (its address is 0); expected an array that holds its elements"
        )
    interface = {"shape": shape, "typestr": typestr, "data": (address, read_only), "strides": strides, "version": 3}
    return np.asarray(_Memory(interface, producer)), machine().device_of(address)
