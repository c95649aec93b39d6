"""All recorded calls."""

from __future__ import annotations

from zlib import crc32

from benchmarks.bits.call import Call
from benchmarks.bits.norms import norm_calls
from benchmarks.bits.optimizers import optimizer_calls
from benchmarks.bits.pytorch import torch_calls
from benchmarks.bits.random import random_calls
from benchmarks.bits.scaling import scaling_calls
from benchmarks.bits.schedules import schedule_calls
from benchmarks.bits.updates import update_calls

FAMILIES = {
    "updates": update_calls,
    "norms": norm_calls,
    "random numbers": random_calls,
    "scaling": scaling_calls,
    "schedules": schedule_calls,
    "optimizers": optimizer_calls,
    "PyTorch": torch_calls,
}

#: Numba takes half a second to compile a kernel, and the NumPy formulas are slow, so each function has few such calls.
OF_BACKEND = {
    "cython": lambda number: True,
    "numba": lambda number: number < 2,
    "reference": lambda number: number % 8 == 3,
}


def calls(every: int, backend: str) -> list[Call]:
    """Return one of this many calls, selected by name, for recording with another backend."""
    return [
        call
        for family in FAMILIES.values()
        for call in family()
        if crc32(str(call).encode()) % every == 0 and backend in call.backends and OF_BACKEND[backend](call.number)
    ]
