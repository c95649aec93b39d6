"""Fingerprints of tensors (addresses, dtypes, shapes and strides), which detect changes."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch

from fastopt.engine.core import exchange

_LOOKS = (torch.Tensor.data_ptr, attrgetter("dtype"), attrgetter("shape"), torch.Tensor.stride)


class SlowFingerprint:
    """`exchange.TensorFingerprint` for PyTorch without a table of functions: six times slower."""

    def __init__(self, tensors: list[Any]):
        self._seen = [list(map(look, tensors)) for look in _LOOKS]

    def holds(self, tensors: list[Any]) -> bool:
        """Return whether these tensors have the same addresses and layouts as those of the fingerprint."""
        try:
            return all(list(map(look, tensors)) == seen for look, seen in zip(_LOOKS, self._seen, strict=True))
        except RuntimeError:  # a tensor has no address
            return False


TensorFingerprint: Any = exchange.TensorFingerprint if exchange.has_table() else SlowFingerprint


def fingerprint(tensors: list[Any]) -> Any:
    """Return the fingerprint of tensors; None if one has no memory of its own, or is negated when it is read."""
    try:
        return None if is_negated(tensors) else TensorFingerprint(tensors)
    except RuntimeError:
        return None


def is_negated(tensors: list[Any]) -> bool:
    """Return whether any tensor is negated when it is read, which its address does not show."""
    return any(map(torch.Tensor.is_neg, tensors))
