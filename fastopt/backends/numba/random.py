"""What the text of a random rule's kernel calls, for Numba on the host."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
from numba import uint32
from numba.extending import intrinsic

from fastopt.backends.numba.compiler import OPTIONS
from fastopt.backends.numba.reinterpretation import reinterpretation
from fastopt.backends.numba.typed_random import typed_primitives

__all__ = ["primitives", "uint32"]


def primitives(real: Any) -> dict[str, Any]:
    """Return the functions by name."""
    return typed_primitives(real.name, _inlined, partial(reinterpretation, intrinsic))


def _inlined(function: Callable[..., Any]) -> Any:
    return numba.njit(inline="always", **OPTIONS)(function)
