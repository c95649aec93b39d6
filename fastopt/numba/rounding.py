"""Coefficients in the compute type, as ``convert_scalars`` of engine/update/update.pyx rounds them."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, sqrt
from sys import float_info
from typing import Any

import numba

from fastopt.backends.numba.compiler import float32, float64, named_apart


def _roundings(real: Any, smallest: float) -> dict[str, Any]:
    """Return the compiled functions for one compute type, whose smallest normal number is ``smallest``."""
    infinite = f"a coefficient becomes infinite in {real}; expected hyperparameters for which all are finite"
    vanishing = f"grad_scale vanishes in {real}; expected 0, or a number that does not"
    least_root = sqrt(smallest)

    def rounded(value: Any) -> Any:
        if not isfinite(real(value)):
            raise ValueError(infinite)
        return real(0.0 if abs(value) < smallest else value)

    def kept(value: Any) -> Any:
        """Round an eps, which must not become 0."""
        return round_it(smallest if 0.0 < value < smallest else value)

    def beside_root(value: Any) -> Any:
        """Round an eps, with the root of the smallest normal number as lower bound, which is the smallest root."""
        return round_it(max(value, least_root))

    def not_vanishing(value: Any) -> Any:
        if 0.0 < abs(value) < smallest:
            raise ValueError(vanishing)
        return round_it(value)

    def named(function: Callable[..., Any]) -> Any:
        function.__name__ = f"{function.__name__}_{real}"  # by which Numba links it
        return numba.njit(error_model="numpy", fastmath=False)(named_apart(function))

    round_it = named(rounded)
    functions = {"kept": kept, "beside_root": beside_root, "not_vanishing": not_vanishing}
    return {"rounded": round_it, **{name: named(function) for name, function in functions.items()}}


ROUNDINGS = {"float32": _roundings(float32, 2.0**-126), "float64": _roundings(float64, float_info.min)}
