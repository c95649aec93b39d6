"""Numba's CUDA target, or its simulator: how functions become part of kernels, and bits another type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, cuda

from fastopt.backends.numba.typed import reinterpretation as reinterpretation_by

#: Numba runs the kernels in Python, thread by thread, where NUMBA_ENABLE_CUDASIM was set before it was imported.
SIMULATED = bool(config.ENABLE_CUDASIM)

# In the simulator a function remains what it is. Elsewhere Numba inlines it before it asks what types there are: no
# other way compiles without a device.
inlined = (lambda function: function) if SIMULATED else cuda.jit(device=True, inline="always")


def reinterpretation(given: str, wanted: str) -> Callable[[Any], Any]:
    """Return what takes the bits of one type as those of another."""
    if SIMULATED:
        return lambda value: value.view(getattr(np, wanted))
    from numba.cuda.extending import intrinsic

    return reinterpretation_by(intrinsic, given, wanted)
