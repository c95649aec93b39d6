"""Chooses what runs the kernels: a CUDA driver, or Numba's simulator in its place."""

from __future__ import annotations

from functools import cache

from fastopt.backends import find_backend
from fastopt.device.machine import Machine


@cache
def machine() -> Machine:
    """Return what runs kernels here, or raise what says why nothing does."""
    backend = find_backend("cuda")
    if backend.SIMULATED:
        from fastopt.device.simulator import Simulator

        return Simulator()
    from fastopt.device.driver import Driver

    return Driver()
