"""Numba's CUDA target or its simulator: inlining of functions, and reinterpretation of bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, cuda

from fastopt.backends.numba.typed import reinterpretation as reinterpretation_by

#: True if kernels run in Python, thread by thread: NUMBA_ENABLE_CUDASIM was set before Numba was imported.
SIMULATED = bool(config.ENABLE_CUDASIM)

# In the simulator, functions are unchanged. Otherwise Numba inlines them before type inference, which is the only
# method that works without a device.
inlined = (lambda function: function) if SIMULATED else cuda.jit(device=True, inline="always")


def reinterpretation(given: str, wanted: str) -> Callable[[Any], Any]:
    """Return a function that reinterprets the bits of one type as another."""
    if SIMULATED:
        return lambda value: value.view(getattr(np, wanted))
    from numba.cuda.extending import intrinsic

    return reinterpretation_by(intrinsic, given, wanted)
