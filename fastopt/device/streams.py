"""The streams on which arrays are in use, and the handles of streams."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from operator import index
from typing import Any, SupportsIndex

from fastopt.common.messages import brief

#: The default streams' numbers in ``__cuda_array_interface__``: that of the process, and that of each thread.
LEGACY, PER_THREAD = 1, 2

#: Handles are addresses.
HANDLES = 1 << 64


def one_of_all_threads(handle: int) -> int:
    """Refuse the per-thread default stream: one thread might allocate memory and another one free it."""
    if handle == PER_THREAD:
        raise ValueError("stream is the per-thread default stream; expected one that is the same in all threads")
    return handle


def handle_of(stream: Any) -> int:
    """Return the handle of a stream: a number, or an object of PyTorch, CuPy, Numba or cuda-core that has one."""
    handle = None if isinstance(stream, bool) else _handle_in(stream)
    if isinstance(handle, SupportsIndex) and 0 <= index(handle) < HANDLES:
        return index(handle) or LEGACY
    raise TypeError(
        f"stream is {brief(stream)}, a {type(stream).__name__}; expected None, a stream, or a stream's handle"
    )


def _handle_in(stream: Any) -> Any:
    """Return the handle of a stream of any library; a number is its own handle."""
    protocol = getattr(stream, "__cuda_stream__", None)
    if callable(protocol):
        return protocol()[1]
    for name in ("cuda_stream", "ptr", "handle"):  # PyTorch, CuPy, Numba
        handle = getattr(stream, name, None)
        if handle is not None:
            return getattr(handle, "value", handle) or 0
    return stream


def streams_of(arrays: Iterable[Any], device: int) -> list[int]:
    """Return the distinct handles of the producers' current streams, the first array's first."""
    torch = sys.modules.get("torch")
    tensor = torch.Tensor if torch is not None else ()
    handles: dict[int, None] = {}
    current = None
    for array in arrays:
        if isinstance(array, tensor):
            if current is None:  # the same for all of them
                current = int(sys.modules["torch"].cuda.current_stream(device).cuda_stream) or LEGACY
            handles[current] = None
        else:
            interface = getattr(array, "__cuda_array_interface__", None)
            handles[int((interface and interface.get("stream")) or LEGACY)] = None
    return list(handles)


def is_tensor(array: Any) -> bool:
    """Return whether an array is a PyTorch tensor, without importing PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)
