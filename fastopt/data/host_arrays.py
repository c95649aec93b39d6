"""Arrays in the host's memory of which only bytes are moved: of any dtype, also those in which nothing computes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.engine.core.dlpack import HOST, import_array
from fastopt.errors import BackendUnavailable

EXPECTED = "an array in the host's memory (NumPy, DLPack or buffer protocol)"


def host_array(name: str, given: Any) -> NDArray[Any]:
    """Return a plain ndarray over the memory of an array without Python objects, or raise."""
    array = _view(name, given)
    if array.dtype.hasobject:
        raise TypeError(f"{name} has dtype {array.dtype}; expected one without Python objects")
    return array


def _view(name: str, given: Any) -> NDArray[Any]:
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; expected a plain array (its .data, if the mask is to be ignored)")
    if isinstance(given, np.ndarray):
        return given.view(np.ndarray)
    if hasattr(given, "__dlpack__"):
        array, _, device = import_array(given, name)
        if device == HOST:
            return array
    if hasattr(given, "__dlpack__") or hasattr(given, "__cuda_array_interface__"):
        raise BackendUnavailable(f"{name} is on a device; expected {EXPECTED}")
    try:
        return np.asarray(memoryview(given))
    except (TypeError, ValueError, BufferError) as error:
        what = "None" if given is None else f"a {type(given).__name__}"
        raise TypeError(f"{name} is {what}; expected {EXPECTED} ({error})") from error
