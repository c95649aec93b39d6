"""Storage and reading of arrays in both file formats of checkpoints, once they are known to fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, TypeAlias

import numpy as np

from fastopt.specs.dtypes import STORAGES

Values: TypeAlias = np.ndarray[Any, Any]

#: Arrays by their names in files.
Arrays: TypeAlias = dict[str, Values]

#: Integer dtypes that store the bits of dtypes that NumPy lacks, by the names of the latter.
BITS = {storage.name: np.dtype(storage.bits) for storage in STORAGES if storage.bits}

#: Number of bytes that are read or written at once.
PART = 1 << 20


def dtype_of(array: Values) -> np.dtype[Any]:
    """Return the dtype of an array in files: NumPy has no bfloat16, which is stored as uint16; nothing else is."""
    dtype: np.dtype[Any] = array.dtype
    return BITS.get(dtype.name, dtype)


def parts_of(array: Values) -> Iterator[bytes]:
    """Yield the bytes of an array in C order, in blocks, so that the whole array is never copied."""
    whole = array.view(dtype_of(array))
    parts: Any = np.nditer(whole, ["external_loop", "buffered", "zerosize_ok"], buffersize=PART // 8, order="C")
    for part in parts:
        yield part.tobytes()


def read_bytes(stream: IO[bytes], count: int) -> Values:
    """Return exactly ``count`` bytes; the caller knows that the file should have them."""
    found = np.empty(count, np.uint8)
    at = 0
    while at < count:
        part = stream.read(min(PART, count - at))
        if not part:
            raise ValueError(f"it ends {count - at} bytes early")
        found[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
    return found
