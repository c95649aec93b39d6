"""Updates in user-defined Numba functions: after ``import fastopt.numba``, code compiled by `numba.njit` may call them.

These are the public functions themselves. Called from Python, they work as usual; called from a compiled function, they
are compiled into it. ``fastopt.numba.cuda`` has device functions for kernels, and is imported on first use. See
docs/calling-from-numba.md.
"""

from __future__ import annotations

from typing import Any

from fastopt.errors import BackendUnavailable

try:
    import numba  # noqa: F401
except ImportError as error:
    raise BackendUnavailable(f"fastopt.numba needs Numba ({error}); pip install 'fastopt[numba]'") from error

from fastopt.numba.overloads import register
from fastopt.numba.scalars import register_coefficients
from fastopt.specs.updates import UPDATES as _UPDATES
from fastopt.updates import accumulation as _accumulation
from fastopt.updates import adam as _adam
from fastopt.updates import adaptive as _adaptive
from fastopt.updates import descent as _descent
from fastopt.updates import signs as _signs
from fastopt.updates.accumulation import *  # noqa: F403
from fastopt.updates.adam import *  # noqa: F403
from fastopt.updates.adaptive import *  # noqa: F403
from fastopt.updates.descent import *  # noqa: F403
from fastopt.updates.signs import *  # noqa: F403

__all__: list[str] = []
__all__ += _accumulation.__all__
__all__ += _adam.__all__
__all__ += _adaptive.__all__
__all__ += _descent.__all__
__all__ += _signs.__all__

__dir__ = __all__.copy

register_coefficients()
for _spec in _UPDATES.values():
    register(_spec)


def __getattr__(name: str) -> Any:
    """Import the modules that need numba-cuda on first use."""
    if name == "cuda":
        from fastopt.numba import device

        return device
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
