"""Checks of the constructor arguments of norm objects, as far as they are possible before a call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastopt.common.messages import brief
from fastopt.engine.core.hyperparameters import whole
from fastopt.specs.dtypes import NAMES


def check_axis(given: Any) -> None:
    """Raise if the argument cannot be a channel axis."""
    if whole("axis", given, "a whole number other than 0", lowest=-(2**63)) == 0:
        raise ValueError("axis is 0, the sample axis; expected another axis")


def check_activation(given: Any) -> None:
    """Raise if the norms do not have this activation."""
    if given is not None and not (isinstance(given, str) and given == "relu"):
        raise (ValueError if isinstance(given, str) else TypeError)(
            f"activation is {brief(given)}; expected None or 'relu'"
        )


def check_groups(given: Any, channels: int) -> None:
    """Raise unless the number of groups divides the number of channels."""
    groups = whole("groups", given, "a whole number, 1 or more")
    if channels % groups:
        raise ValueError(f"groups is {groups}; expected a divisor of {channels}, the number of channels")


def length(name: str, given: Any) -> int:
    """Return a number of channels, or of features."""
    return whole(name, given, "a whole number, 0 or more", lowest=0)


def lengths(name: str, given: Any) -> tuple[int, ...]:
    """Return a shape, given as a shape or as the length of its only axis."""
    if not isinstance(given, Iterable) or isinstance(given, str):
        return (length(name, given),)
    if not (found := tuple(length(f"{name}[{i}]", each) for i, each in enumerate(given))):
        raise ValueError(f"{name} is (); expected one axis or more")
    return found


def dtype_of(given: Any) -> np.dtype[Any]:
    """Return the dtype of weight and bias, which must be a floating-point dtype."""
    try:
        dtype: np.dtype[Any] | None = None if given is None else np.dtype(given)
    except Exception:  # a caller's object may raise anything
        dtype = None
    if dtype is None or dtype.name not in NAMES or not dtype.isnative:
        raise TypeError(f"dtype is {brief(given)}; expected one of {', '.join(NAMES)}")
    return dtype
