"""Chooses what runs the kernels: a CUDA driver or Numba's simulator."""

from __future__ import annotations

from functools import cache

from fastopt.backends import find_backend
from fastopt.device.machine import Machine


@cache
def machine() -> Machine:
    """Return the driver or simulator, or raise an error with the reason why neither is available."""
    backend = find_backend("cuda")
    if backend.SIMULATED:
        from fastopt.device.simulator import Simulator

        return Simulator()
    from fastopt.device.driver import Driver

    return Driver()
