"""Adam and its relatives, for PyTorch."""

from __future__ import annotations

from typing import ClassVar

import torch

from fastopt.specs.updates import UpdateSpec
from fastopt.torch.optimizer import Group, Optimizer
from fastopt.updates import adam

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


class _Adam(Optimizer):
    """What Adam and AdamW share: which of the two a group is, it says itself, as in PyTorch."""

    def spec_of(self, group: Group) -> UpdateSpec:
        """By how weights decay; PyTorch's groups say so since 2.6."""
        return adam.ADAMW if group.get("decoupled_weight_decay", self.spec.decoupled) else adam.ADAM


class Adam(_Adam, torch.optim.Adam):
    """Adaptive moment estimation: `fastopt.adam`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Updated by every step; or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        What the averages ("exp_avg", "exp_avg_sq") keep of themselves.
    eps : float >= 0
        Added to the bias-corrected square root.
    weight_decay : float >= 0
        Coupled weight decay.
    amsgrad : bool
        Divide by the root of the largest average so far: "max_exp_avg_sq".
    maximize : bool
        Follow the gradient, rather than its negative.
    decoupled_weight_decay : bool
        Whether the decay is decoupled, as in AdamW.
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
        Updated by every step; or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        What the averages ("exp_avg", "exp_avg_sq") keep of themselves.
    eps : float >= 0
        Added to the bias-corrected square root.
    weight_decay : float >= 0
        Decoupled weight decay.
    amsgrad : bool
        Divide by the root of the largest average so far: "max_exp_avg_sq".
    maximize : bool
        Follow the gradient, rather than its negative.
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
    """Adam by the largest recent gradient in place of the averaged square: `fastopt.adamax`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Updated by every step; or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        What the average ("exp_avg") and the largest gradient ("exp_inf") keep of themselves.
    eps : float >= 0
        Added to each gradient's magnitude.
    weight_decay : float >= 0
        Coupled weight decay.
    maximize : bool
        Follow the gradient, rather than its negative.
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
    """Adam with Nesterov momentum: `fastopt.nadam`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Updated by every step; or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        What the averages ("exp_avg", "exp_avg_sq") keep of themselves.
    eps : float >= 0
        Added to the bias-corrected square root.
    weight_decay : float >= 0
        Coupled decay, or decoupled.
    momentum_decay : float >= 0
        How soon the momentum reaches the first beta; its product so far is state: "mu_product".
    decoupled_weight_decay : bool
        Whether the weight decay is decoupled.
    maximize : bool
        Follow the gradient, rather than its negative.
    foreach, capturable, differentiable : optional
        See `fastopt.torch`.

    Notes
    -----
    As torch.optim.NAdam. The product is kept in float64 between steps, and in the state as PyTorch has it.

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
        """The step's momentum."""
        return adam.nadam_mu(step, group["betas"][0], group["momentum_decay"])


class RAdam(Optimizer, torch.optim.RAdam):
    """Adam that waits until the average of squares can be relied on: `fastopt.radam`.

    Parameters
    ----------
    params : iterable of torch.Tensor, of named ones, or of dict
        Updated by every step; or param groups.
    lr : float or torch.Tensor >= 0
        Learning rate.
    betas : tuple of two floats in [0, 1)
        What the averages ("exp_avg", "exp_avg_sq") keep of themselves.
    eps : float >= 0
        Added to the square root.
    weight_decay : float >= 0
        Coupled decay, or decoupled.
    decoupled_weight_decay : bool
        Whether the weight decay is decoupled.
    maximize : bool
        Follow the gradient, rather than its negative.
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
