"""The arguments of the constructors of optimizers."""

from __future__ import annotations

from typing import Any


def hyperparameters_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters in a constructor's ``locals()``: all except parameters and options."""
    others = ("self", "params", "options", "__class__")
    return {name: value for name, value in arguments.items() if name not in others}
