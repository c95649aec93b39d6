"""Gradient descent for PyTorch."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from fastopt.engine.update.update import Update
from fastopt.specs.updates import UpdateSpec
from fastopt.torch.optimizer import Group, Optimizer
from fastopt.torch.tensors import number
from fastopt.updates import descent

__all__ = ["SGD"]


class SGD(Optimizer, torch.optim.SGD):
    """Gradient descent, with or without momentum: `fastopt.sgd`, `fastopt.momentum` with form="sum".

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    momentum : float in [0, 1]
        Decay rate of the velocity; if not 0, there is the state "momentum_buffer".
    dampening : float
        Fraction of the gradient that is not added to the velocity, from the second step on.
    weight_decay : float >= 0
        Coupled weight decay.
    nesterov : bool
        Whether to use Nesterov momentum.
    maximize : bool
        Whether to maximise the objective instead of minimising it.
    foreach, differentiable, fused : optional
        See `fastopt.torch`.

    Notes
    -----
    As torch.optim.SGD: the velocity starts from the first gradient, undampened. `fastopt.momentum` dampens it as well.

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

    spec = descent.SGD

    counted: ClassVar[bool] = False

    def spec_of(self, group: Group) -> UpdateSpec:
        """Return the update with or without momentum."""
        return descent.MOMENTUM if group["momentum"] else descent.SGD

    def update(
        self, group: Group, step: int, lr: Any, grad_scale: float, product: float
    ) -> tuple[Update, tuple[Any, ...]]:
        """Return the dampening: as in PyTorch, 0 for the first gradient."""
        dampening = group["dampening"] if step > 1 else 0.0
        group = {**group, "weight_decay": number(group["weight_decay"]), "dampening": dampening}
        return super().update(group, step, lr, grad_scale, product)
