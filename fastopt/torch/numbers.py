"""Numbers in parameters' states, as PyTorch has them: tensors of one element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fastopt.engine.core import exchange


def dtype() -> torch.dtype:
    """Return the dtype of new numbers, as PyTorch has it: float32, and float64 where that is PyTorch's default."""
    return torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32


class Numbers:
    """One number for each parameter, such as its updates so far, read and written in the tensors of its state.

    A tensor that the state has already is used as it is, for somebody may hold it, or share it with other processes.

    Parameters
    ----------
    name : str
        The number's name in the state.
    found : sequence
        What the parameters' states have by that name: a tensor, a number, or None.
    start : float
        What a number starts from.
    labels : sequence of str
        What messages call the parameters.
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
        #: What they are stored in, where one dtype is enough for all.
        self.dtype = np.dtype(float if any(tensor.dtype is torch.float64 for tensor in self.tensors) else np.float32)
        #: What the numbers are: a count may be larger than its tensor can tell.
        self.values = np.zeros(len(self.tensors))
        self._stored = np.full(len(self.tensors), np.nan)
        self.read()

    def read(self) -> bool:
        """Look at the tensors; return whether one holds another number than was written into it here."""
        return exchange.read_numbers(self.tensors, self._stored, self.values)

    def advance(self, active: np.ndarray[Any, Any], factors: np.ndarray[Any, Any] | None = None) -> None:
        """Add 1 to some numbers, or multiply them; what other processes have written meanwhile counts."""
        exchange.advance_numbers(self.tensors, self._stored, self.values, active, factors)
