"""Adam and related optimizers for PyTorch."""

from __future__ import annotations

from typing import ClassVar

import torch

from fastopt.specs.updates import UpdateSpec
from fastopt.torch.optimizer import Group, Optimizer
from fastopt.updates import adam

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


class _Adam(Optimizer):
    """Base class of Adam and AdamW. As in PyTorch, each group selects which of the two it is."""

    def spec_of(self, group: Group) -> UpdateSpec:
        """Select by the decoupled_weight_decay that PyTorch's groups have since 2.6."""
        return adam.ADAMW if group.get("decoupled_weight_decay", self.spec.decoupled) else adam.ADAM


class Adam(_Adam, torch.optim.Adam):
    """Adam: `fastopt.adam`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        Exponential decay rates of the averages ("exp_avg", "exp_avg_sq").
    eps : float >= 0
        Added to the bias-corrected square root.
    weight_decay : float >= 0
        Coupled weight decay.
    amsgrad : bool
        Whether to divide by the root of the maximum of the averages: state "max_exp_avg_sq".
    maximize : bool
        Whether to maximise the objective instead of minimising it.
    decoupled_weight_decay : bool
        Whether the weight decay is decoupled, as in AdamW.
    foreach, capturable, differentiable, fused : optional
        See `fastopt.torch`.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import Adam
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = Adam([weight], lr=0.25)
    >>> weight.grad = torch.tensor([3.0, -1.0])
    >>> optimizer.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [0.75, 2.25]
    """

    spec = adam.ADAM


class AdamW(_Adam, torch.optim.AdamW):
    """Adam with decoupled weight decay: `fastopt.adamw`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        Exponential decay rates of the averages ("exp_avg", "exp_avg_sq").
    eps : float >= 0
        Added to the bias-corrected square root.
    weight_decay : float >= 0
        Decoupled weight decay.
    amsgrad : bool
        Whether to divide by the root of the maximum of the averages: state "max_exp_avg_sq".
    maximize : bool
        Whether to maximise the objective instead of minimising it.
    foreach, capturable, differentiable, fused : optional
        See `fastopt.torch`.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import AdamW
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = AdamW([weight], lr=0.25)
    >>> weight.grad = torch.tensor([3.0, -1.0])
    >>> optimizer.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [0.7475, 2.245]
    """

    spec = adam.ADAMW


class Adamax(Optimizer, torch.optim.Adamax):
    """AdaMax, Adam with the decayed maximum of the gradient's magnitude: `fastopt.adamax`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        Exponential decay rates of the average ("exp_avg") and of the maximum ("exp_inf").
    eps : float >= 0
        Added to each gradient's magnitude.
    weight_decay : float >= 0
        Coupled weight decay.
    maximize : bool
        Whether to maximise the objective instead of minimising it.
    foreach, differentiable, capturable : optional
        See `fastopt.torch`.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import Adamax
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = Adamax([weight], lr=0.25)
    >>> weight.grad = torch.tensor([3.0, -1.0])
    >>> optimizer.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [0.75, 2.25]
    """

    spec = adam.ADAMAX


class NAdam(Optimizer, torch.optim.NAdam):
    """NAdam, Adam with Nesterov momentum: `fastopt.nadam`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        Exponential decay rates of the averages ("exp_avg", "exp_avg_sq").
    eps : float >= 0
        Added to the bias-corrected square root.
    weight_decay : float >= 0
        Weight decay.
    momentum_decay : float >= 0
        Rate at which the momentum rises to the first beta; its product so far is the state "mu_product".
    decoupled_weight_decay : bool
        Whether the weight decay is decoupled.
    maximize : bool
        Whether to maximise the objective instead of minimising it.
    foreach, capturable, differentiable : optional
        See `fastopt.torch`.

    Notes
    -----
    As torch.optim.NAdam. The optimizer holds the product in float64; the state has it in PyTorch's dtype.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import NAdam
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = NAdam([weight], lr=0.25)
    >>> weight.grad = torch.tensor([3.0, -1.0])
    >>> optimizer.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [0.7359, 2.2641]
    """

    spec = adam.NADAM

    product: ClassVar[str | None] = "mu_product"

    def factor(self, group: Group, step: int) -> float:
        """Return the momentum of this step."""
        return adam.nadam_mu(step, group["betas"][0], group["momentum_decay"])


class RAdam(Optimizer, torch.optim.RAdam):
    """Rectified Adam: `fastopt.radam`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Parameters, which every step updates in place, or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        Exponential decay rates of the averages ("exp_avg", "exp_avg_sq").
    eps : float >= 0
        Added to the square root.
    weight_decay : float >= 0
        Weight decay.
    decoupled_weight_decay : bool
        Whether the weight decay is decoupled.
    maximize : bool
        Whether to maximise the objective instead of minimising it.
    foreach, capturable, differentiable : optional
        See `fastopt.torch`.

    Examples
    --------
    >>> import torch
    >>> from fastopt.torch import RAdam
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = RAdam([weight], lr=0.25)
    >>> weight.grad = torch.tensor([3.0, -1.0])
    >>> optimizer.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [0.25, 2.25]
    """

    spec = adam.RADAM
