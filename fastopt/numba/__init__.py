"""The updates in a user's Numba functions: after ``import fastopt.numba``, what `numba.njit` compiles may call them.

These are the public functions themselves. In Python they do what they always do; in a compiled function they become
part of it. ``fastopt.numba.cuda`` has device functions for kernels, and is imported when it is asked for. See
docs/calling-from-numba.md.
"""

from __future__ import annotations

from typing import Any

from fastopt import (
    accumulate,
    adabelief,
    adadelta,
    adagrad,
    adam,
    adamax,
    adamw,
    adan,
    ademamix,
    asgd,
    lion,
    momentum,
    nadam,
    nadam_mu,
    radam,
    rmsprop,
    rprop,
    sgd,
    signum,
    yogi,
)  # fmt: skip
from fastopt.numba.overloads import register
from fastopt.numba.scalars import register_coefficients

__all__ = [
    "accumulate", "adabelief", "adadelta", "adagrad", "adam", "adamax", "adamw", "adan", "ademamix", "asgd", "lion",
    "momentum", "nadam", "nadam_mu", "radam", "rmsprop", "rprop", "sgd", "signum", "yogi",
]  # fmt: skip

__dir__ = __all__.copy

UPDATES = [globals()[name] for name in __all__ if name != "nadam_mu"]

register_coefficients()
for _update in UPDATES:
    register(_update)


def __getattr__(name: str) -> Any:
    """Import what needs numba-cuda when it is first asked for."""
    if name == "cuda":
        from fastopt.numba import device

        return device
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
