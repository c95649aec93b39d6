"""Checks of arrays at run time of the user's function."""

from __future__ import annotations

from typing import Any

from fastopt.backends.numba.compiler import compiled


@compiled
def share_bytes(addresses: Any, sizes: Any) -> bool:
    """Return whether any two of these memory ranges overlap."""
    for i in range(1, len(addresses)):
        for j in range(i):
            if addresses[i] < addresses[j] + sizes[j] and addresses[j] < addresses[i] + sizes[i]:
                return True
    return False


@compiled
def first_bytes(a: Any) -> int:
    """Return the size of an array's first element, the only one checked if the array need not be contiguous."""
    return a.itemsize if a.size else 0


@compiled
def repeats(a: Any) -> bool:
    """Return whether all elements along one of its axes have the same address."""
    for axis in range(a.ndim):
        if a.shape[axis] > 1 and a.strides[axis] == 0:
            return bool(a.size)
    return False
