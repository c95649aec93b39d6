"""Optimizers with a learning rate per element, derived from the gradients' squares, for whole models."""

from __future__ import annotations

from fastopt.common.arguments import hyperparameters_of
from fastopt.common.types import OptimizerOptions, Params, Real, Unpack
from fastopt.optim.optimizer import LearningRate, Optimizer
from fastopt.updates import adaptive

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(Optimizer):
    """Adagrad, learning rates that fall with the sum of squared gradients: `fastopt.adagrad` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    lr_decay : float >= 0
        Decay rate of the learning rate.
    eps : float >= 0
        Added to the square root.
    weight_decay : float >= 0
        Coupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Adagrad
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Adagrad([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.5, 2.5], dtype=float32)
    """

    spec = adaptive.ADAGRAD

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-2,
        lr_decay: Real = 0.0,
        eps: Real = 1e-10,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class RMSprop(Optimizer):
    """RMSProp, gradients divided by the root of their average square: `fastopt.rmsprop` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    decay : float in [0, 1]
        Exponential decay rate of the averages.
    eps, eps_inside_sqrt : float >= 0, bool
        Value added to the root, and whether to add it under the root.
    centered : bool
        Whether to subtract the square of the gradient's average: state ``grad_avg``.
    momentum : float in [0, 1]
        Decay rate of the velocity; if not 0, the optimizer has the state ``velocity``.
    weight_decay : float >= 0
        Coupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import RMSprop
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = RMSprop([weight], lr=0.5, decay=0.75)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0., 3.], dtype=float32)
    """

    spec = adaptive.RMSPROP

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-2,
        decay: Real = 0.99,
        eps: Real = 1e-8,
        eps_inside_sqrt: bool = False,
        centered: bool = False,
        momentum: Real = 0.0,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class Adadelta(Optimizer):
    """Adadelta, steps scaled by the average of earlier steps: `fastopt.adadelta` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    decay : float in [0, 1]
        Exponential decay rate of the averages.
    eps : float >= 0
        Added under the roots.
    weight_decay : float >= 0
        Coupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Adadelta
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Adadelta([weight], eps=1.0)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([-1.1764288,  2.9534626], dtype=float32)
    """

    spec = adaptive.ADADELTA

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1.0,
        decay: Real = 0.9,
        eps: Real = 1e-6,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)
