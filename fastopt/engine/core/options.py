"""Validation of options that objects pass to their calls."""

from __future__ import annotations

from typing import Any

from fastopt.common.messages import brief
from fastopt.engine.core.hyperparameters import whole
from fastopt.specs.backends import BACKENDS


def check_backend(given: Any) -> None:
    """Raise for an unknown backend; whether it can run here is checked by each call."""
    if given is None:
        return
    if not isinstance(given, str):
        raise TypeError(f"backend is {brief(given)}, a {type(given).__name__}; expected None or a string")
    if given not in BACKENDS:
        raise ValueError(f"backend is {brief(given)}; expected None or one of {', '.join(map(repr, BACKENDS))}")


def one_of(name: str, given: Any, *choices: str) -> Any:
    """Return an option if it is one of these strings; otherwise raise."""
    if not isinstance(given, str) or given not in choices:
        raise ValueError(f"{name} is {brief(given)}; expected {' or '.join(map(repr, choices))}")
    return given


def check_num_threads(given: Any) -> None:
    """Raise for an invalid number of threads."""
    if given is not None:
        whole("num_threads", given, "a whole number, 1 or more")
