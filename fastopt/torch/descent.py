"""Gradient descent, for PyTorch."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fastopt.engine.update.update import Update
from fastopt.torch.optimizer import Group, Optimizer
from fastopt.torch.tensors import number
from fastopt.updates import descent


class SGD(Optimizer, torch.optim.SGD):
    """Gradient descent, with or without momentum: `fastopt.sgd`, `fastopt.momentum` with form="sum".

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Updated by every step; or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    momentum : float in [0, 1]
        What the velocity keeps of itself; if not 0, there is state: "momentum_buffer".
    dampening : float
        Taken off the gradient's weight in the velocity, from the second step on.
    weight_decay : float >= 0
        Coupled decay.
    nesterov : bool
        Look ahead along the velocity.
    maximize : bool
        Follow the gradient, rather than its negative.
    foreach, differentiable, fused : optional
        See `fastopt.torch`.

    Notes
    -----
    As torch.optim.SGD: the velocity starts from the first gradient, undampened. `fastopt.momentum` dampens it.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import SGD
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = SGD([weight], lr=0.25, momentum=0.5)
    >>> weight.grad = torch.tensor([3.0, -1.0])
    >>> optimizer.step()
    >>> weight.tolist()
    [0.25, 2.25]
    """

    counted: ClassVar[bool] = False

    def arrays(self, group: Group) -> tuple[str, ...]:
        """With momentum, the velocity."""
        return ("momentum_buffer",) if group["momentum"] else ()

    def update(
        self, group: Group, step: int, lr: Any, grad_scale: float, product: float
    ) -> tuple[Update, tuple[Any, ...]]:
        """By whether it has momentum, and which."""
        decay = number(group["weight_decay"])
        if not group["momentum"]:
            return descent.SGD, (lr, decay, grad_scale)
        dampening = group["dampening"] if step > 1 else 0.0
        values = (lr, group["momentum"], dampening, group["nesterov"], "sum", decay, grad_scale)
        return descent.NESTEROV if group["nesterov"] else descent.MOMENTUM, values
