"""What is asked of arrays when a user's function runs."""

from __future__ import annotations

from typing import Any

from fastopt.backends.numba.compiler import compiled


@compiled
def share_bytes(addresses: Any, sizes: Any) -> bool:
    """Return whether any two of these runs of memory have a byte in common."""
    for i in range(1, len(addresses)):
        for j in range(i):
            if addresses[i] < addresses[j] + sizes[j] and addresses[j] < addresses[i] + sizes[i]:
                return True
    return False


@compiled
def first_bytes(a: Any) -> int:
    """Return the size of an array's first element: all that is looked at of an array that need not be a run."""
    return a.itemsize if a.size else 0


@compiled
def repeats(a: Any) -> bool:
    """Return whether the elements along one of its axes are all the same one."""
    for axis in range(a.ndim):
        if a.shape[axis] > 1 and a.strides[axis] == 0:
            return bool(a.size)
    return False
