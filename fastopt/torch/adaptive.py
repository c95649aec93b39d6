"""A learning rate for each element, from the gradients' squares, for PyTorch."""

from __future__ import annotations

import torch

from fastopt.torch.optimizer import Optimizer
from fastopt.updates import adaptive

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class RMSprop(Optimizer, torch.optim.RMSprop):
    """Gradients over the root of their average square: `fastopt.rmsprop`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Updated by every step; or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    alpha : float in [0, 1]
        What averages keep of themselves; `fastopt.rmsprop` calls it decay.
    eps : float >= 0
        Added to the square root.
    weight_decay : float >= 0
        Coupled weight decay.
    momentum : float in [0, 1]
        If not 0, there is a velocity: "momentum_buffer".
    centered : bool
        Whether the square of the gradient's average ("grad_avg") is taken off.
    maximize : bool
        Follow the gradient, rather than its negative.
    capturable, foreach, differentiable : optional
        See `fastopt.torch`.

    Notes
    -----
    As torch.optim.RMSprop; but centered, the variance's magnitude is taken, where rounding makes it negative and
    PyTorch's root NaN.

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
    """Learning rates that fall with the sum of squared gradients: `fastopt.adagrad`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Updated by every step; or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    lr_decay : float >= 0
        Decay rate of the learning rate.
    weight_decay : float >= 0
        Coupled weight decay.
    initial_accumulator_value : float >= 0
        What the sum ("sum") starts from.
    eps : float >= 0
        Added to the square root.
    maximize : bool
        Follow the gradient, rather than its negative.
    foreach, differentiable, fused : optional
        See `fastopt.torch`.

    Notes
    -----
    As torch.optim.Adagrad, whose state is there from the beginning.

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
        """As PyTorch: what a group says of it does not count."""
        value: float = self.defaults["initial_accumulator_value"]
        return value


class Adadelta(Optimizer, torch.optim.Adadelta):
    """Steps as long as those before: `fastopt.adadelta`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Updated by every step; or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    rho : float in [0, 1]
        What averages ("square_avg", "acc_delta") keep of themselves; `fastopt.adadelta` calls it decay.
    eps : float >= 0
        Added under the roots.
    weight_decay : float >= 0
        Coupled weight decay.
    maximize : bool
        Follow the gradient, rather than its negative.
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
