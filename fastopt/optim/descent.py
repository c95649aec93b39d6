"""Gradient descent, with and without momentum, for whole models."""

from __future__ import annotations

from typing import Literal

from fastopt.common.arguments import hyperparameters_of
from fastopt.common.types import OptimizerOptions, Params, Real, Unpack
from fastopt.optim.optimizer import LearningRate, Optimizer
from fastopt.updates import descent

__all__ = ["ASGD", "SGD", "Momentum"]


class SGD(Optimizer):
    """Gradient descent: `fastopt.sgd` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    weight_decay : float >= 0
        Weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import SGD
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = SGD([weight], lr=0.5)
    >>> optimizer.step([np.array([1.0, -1.0], np.float32)])
    StepResult(step=1, grad_norm=None, skipped=False, lr=(0.5,))
    >>> weight
    array([0.5, 2.5], dtype=float32)
    """

    spec = descent.SGD

    def __init__(
        self, params: Params, *, lr: LearningRate, weight_decay: Real = 0.0, **options: Unpack[OptimizerOptions]
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class Momentum(Optimizer):
    """Gradient descent with momentum: `fastopt.momentum` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    momentum, dampening : float
        Decay rate of the velocity, and the fraction of the gradient that is not added to it.
    nesterov : bool
        Whether to use Nesterov momentum.
    form : {"sum", "average", "step"}
        Form of the velocity: see `fastopt.momentum`.
    weight_decay : float >= 0
        Coupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Momentum
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Momentum({"weight": weight}, lr=0.5, momentum=0.5)
    >>> for _ in range(2):
    ...     result = optimizer.step({"weight": np.array([1.0, 0.0], np.float32)})
    >>> weight, optimizer.state["weight"]["velocity"]
    (array([-0.25,  2.  ], dtype=float32), array([1.5, 0. ], dtype=float32))
    """

    spec = descent.MOMENTUM

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate,
        momentum: Real = 0.9,
        dampening: Real = 0.0,
        nesterov: bool = False,
        form: Literal["sum", "average", "step"] = "sum",
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class ASGD(Optimizer):
    """Averaged gradient descent, with a running average of the parameters: `fastopt.asgd` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate of the first step.
    lambd, alpha, t0 : float >= 0
        Decay of param, exponent of the learning rate's decay, and the step after which averaging starts.
    weight_decay : float >= 0
        Coupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import ASGD
    >>> weight = np.array([1.0, -1.0], np.float32)
    >>> optimizer = ASGD([weight], lr=0.25, lambd=0.0)
    >>> result = optimizer.step([np.array([1.0, 2.0], np.float32)])
    >>> optimizer.state[0]["average"]
    array([ 0.75, -1.5 ], dtype=float32)
    """

    spec = descent.ASGD

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-2,
        lambd: Real = 1e-4,
        alpha: Real = 0.75,
        t0: Real = 1e6,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)
