"""Numbers in parameters' states, stored as in PyTorch: tensors of one element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fastopt.engine.core import exchange


def dtype() -> torch.dtype:
    """Return the dtype of new numbers, as in PyTorch: float32, or float64 if that is PyTorch's default."""
    return torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32


class Numbers:
    """One number per parameter, such as its step count, read from and written to the tensors of its state.

    A tensor that the state already has is used as it is, because others may hold it or share it between processes.

    Parameters
    ----------
    name : str
        Name of the number in the state.
    found : sequence
        The states' values of that name: a tensor, a number, or None.
    start : float
        Initial value.
    labels : sequence of str
        Names of the parameters in messages.
    """

    def __init__(self, name: str, found: Sequence[Any], start: float, labels: Sequence[str]):
        for value, label in zip(found, labels, strict=True):
            if isinstance(value, torch.Tensor) and value.numel() != 1:
                raise ValueError(f"{name} of {label} has shape {tuple(value.shape)}; expected one number")
        #: Each number as a tensor.
        self.tensors = [
            value
            if isinstance(value, torch.Tensor)
            else torch.tensor(start if value is None else float(value), dtype=dtype(), device="cpu")
            for value in found
        ]
        #: Their common storage dtype, if they have one.
        self.dtype = np.dtype(float if any(tensor.dtype is torch.float64 for tensor in self.tensors) else np.float32)
        #: The values in float64: a count may exceed the precision of its tensor.
        self.values = np.zeros(len(self.tensors))
        self._stored = np.full(len(self.tensors), np.nan)
        self.read()

    def read(self) -> bool:
        """Read the tensors; return whether one has changed since it was written here."""
        return exchange.read_numbers(self.tensors, self._stored, self.values)

    def advance(self, active: np.ndarray[Any, Any], factors: np.ndarray[Any, Any] | None = None) -> None:
        """Add 1 to the active numbers, or multiply them, starting from the values that other processes have written."""
        exchange.advance_numbers(self.tensors, self._stored, self.values, active, factors)
