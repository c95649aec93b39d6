"""On which stream an array is in use, and who must know that it was written."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

#: The default stream, as ``__cuda_array_interface__`` numbers it.
LEGACY = 1


def handle_of(stream: Any) -> int:
    """Return the handle of a stream: a number, or an object of PyTorch, CuPy, Numba or cuda-core that has one."""
    if isinstance(stream, bool):
        pass
    elif isinstance(stream, int) and stream >= 0:
        return stream or LEGACY
    elif hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1]) or LEGACY
    else:
        for name in ("cuda_stream", "ptr", "handle"):  # PyTorch, CuPy, Numba
            handle = getattr(stream, name, None)
            if handle is not None:
                return int(getattr(handle, "value", handle) or 0) or LEGACY
    raise TypeError(f"stream is {stream!r}, a {type(stream).__name__}; expected None, a stream, or a stream's handle")


def stream_of(array: Any, device: int) -> int:
    """Return the handle of the stream that an array's producer uses now."""
    if is_tensor(array):
        return int(sys.modules["torch"].cuda.current_stream(device).cuda_stream) or LEGACY
    interface = getattr(array, "__cuda_array_interface__", {})
    return int(interface.get("stream") or LEGACY)


def wrote(arrays: Iterable[Any]) -> None:
    """Tell PyTorch that tensors have changed: what autograd has saved of them is out of date."""
    tensors = [array for array in arrays if is_tensor(array)]
    if tensors:
        sys.modules["torch"].autograd.graph.increment_version(tensors)


def is_tensor(array: Any) -> bool:
    """Return whether an array is a PyTorch tensor; PyTorch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)
