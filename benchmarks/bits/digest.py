"""A short digest of a call's results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import numpy as np

#: Hexadecimal digits of a digest
DIGITS = 16


def digest(*values: Any) -> str:
    """Return the first digits of the SHA-256 of values: arrays, numbers, strings, and containers of them."""
    state = sha256()
    for value in values:
        for part in _parts(value):
            state.update(part)
    return state.hexdigest()[:DIGITS]


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        order = "C" if value.flags.c_contiguous else "F" if value.flags.f_contiguous else "strided"
        yield f"{value.dtype} {value.shape} {order}".encode()
        yield _one_nan(value).tobytes()
    elif isinstance(value, Mapping):
        yield b"{"
        for key in sorted(value, key=str):
            yield str(key).encode()
            yield from _parts(value[key])
        yield b"}"
    elif isinstance(value, (list, tuple)):
        yield b"["
        for each in value:
            yield from _parts(each)
        yield b"]"
    elif isinstance(value, float):
        yield value.hex().encode()
    else:
        yield repr(value.item() if isinstance(value, np.generic) else value).encode()


def _one_nan(array: np.ndarray) -> np.ndarray:
    """Return the array with a single kind of NaN: its sign and payload are unspecified."""
    if array.dtype.kind not in "fV":  # bfloat16 is of kind V
        return array
    nan = array != array
    return np.where(nan, array.dtype.type("nan"), array) if nan.any() else array
