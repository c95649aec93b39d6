"""The optimizer that uses the sign of an average, which PyTorch does not have."""

from __future__ import annotations

from typing import Any, ClassVar

from fastopt.torch.optimizer import Optimizer
from fastopt.updates import signs

__all__ = ["Lion"]


class Lion(Optimizer):
    """Lion, the sign of a gradient mixed with its average: `fastopt.lion`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        Weight of the average in the sign, and exponential decay rate of the average.
    weight_decay : float >= 0
        Decoupled weight decay.
    maximize : bool
        Whether to maximise the objective instead of minimising it.

    Notes
    -----
    torch.optim has no Lion. Arguments and state ("exp_avg") are named as in AdamW, as in other implementations of Lion.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import Lion
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = Lion([weight], lr=0.25)
    >>> weight.grad = torch.tensor([3.0, -1.0])
    >>> optimizer.step()
    >>> weight.tolist()
    [0.75, 2.25]
    """

    spec = signs.LION

    counted: ClassVar[bool] = False

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, self.checked(locals()))
