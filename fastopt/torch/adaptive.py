"""Optimizers with a learning rate per element, derived from the gradients' squares, for PyTorch."""

from __future__ import annotations

import torch

from fastopt.torch.optimizer import Optimizer
from fastopt.updates import adaptive

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class RMSprop(Optimizer, torch.optim.RMSprop):
    """RMSProp, gradients divided by the root of their average square: `fastopt.rmsprop`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    alpha : float in [0, 1]
        Exponential decay rate of the averages; `fastopt.rmsprop` calls it decay.
    eps : float >= 0
        Added to the square root.
    weight_decay : float >= 0
        Coupled weight decay.
    momentum : float in [0, 1]
        Decay rate of the velocity; if not 0, there is the state "momentum_buffer".
    centered : bool
        Whether to subtract the square of the gradient's average ("grad_avg").
    maximize : bool
        Whether to maximise the objective instead of minimising it.
    capturable, foreach, differentiable : optional
        See `fastopt.torch`.

    Notes
    -----
    As torch.optim.RMSprop, except that the centered variant takes the variance's magnitude: where rounding makes it
    negative, PyTorch's root is NaN.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import RMSprop
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = RMSprop([weight], lr=0.5, alpha=0.75)
    >>> weight.grad = torch.tensor([3.0, -1.0])
    >>> optimizer.step()
    >>> weight.tolist()
    [0.0, 3.0]
    """

    spec = adaptive.RMSPROP


class Adagrad(Optimizer, torch.optim.Adagrad):
    """Adagrad, learning rates that fall with the sum of squared gradients: `fastopt.adagrad`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    lr_decay : float >= 0
        Decay rate of the learning rate.
    weight_decay : float >= 0
        Coupled weight decay.
    initial_accumulator_value : float >= 0
        Initial value of the sum ("sum").
    eps : float >= 0
        Added to the square root.
    maximize : bool
        Whether to maximise the objective instead of minimising it.
    foreach, differentiable, fused : optional
        See `fastopt.torch`.

    Notes
    -----
    As torch.optim.Adagrad, whose state exists from construction.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import Adagrad
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = Adagrad([weight], lr=0.5)
    >>> weight.grad = torch.tensor([3.0, -1.0])
    >>> optimizer.step()
    >>> weight.tolist()
    [0.5, 2.5]
    """

    spec = adaptive.ADAGRAD

    def start(self, name: str) -> float:
        """Return the optimizer's initial_accumulator_value: as in PyTorch, a group's own is ignored."""
        value: float = self.defaults["initial_accumulator_value"]
        return value


class Adadelta(Optimizer, torch.optim.Adadelta):
    """Adadelta, steps scaled by the average of earlier steps: `fastopt.adadelta`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    rho : float in [0, 1]
        Exponential decay rate of the averages ("square_avg", "acc_delta"); `fastopt.adadelta` calls it decay.
    eps : float >= 0
        Added under both square roots.
    weight_decay : float >= 0
        Coupled weight decay.
    maximize : bool
        Whether to maximise the objective instead of minimising it.
    foreach, capturable, differentiable : optional
        See `fastopt.torch`.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import Adadelta
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = Adadelta([weight], eps=1.0)
    >>> weight.grad = torch.tensor([0.0, -1.0])
    >>> optimizer.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [1.0, 2.9535]
    """

    spec = adaptive.ADADELTA
