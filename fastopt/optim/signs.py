"""Optimizers that use only the gradient's sign, for whole models."""

from __future__ import annotations

from fastopt.common.arguments import hyperparameters_of
from fastopt.common.types import OptimizerOptions, Params, Real, Unpack
from fastopt.optim.optimizer import LearningRate, Optimizer
from fastopt.updates import signs

__all__ = ["Lion", "Rprop", "Signum"]


class Signum(Optimizer):
    """Signum, the sign of an average of gradients: `fastopt.signum` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta : float in [0, 1)
        Exponential decay rate of the average.
    weight_decay : float >= 0
        Decoupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Signum
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Signum([weight], lr=0.25)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.75, 2.25], dtype=float32)
    """

    spec = signs.SIGNUM

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-4,
        beta: Real = 0.9,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class Lion(Optimizer):
    """Lion, the sign of a gradient mixed with its average: `fastopt.lion` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Weight of the average in the sign, and exponential decay rate of the average.
    weight_decay : float >= 0
        Decoupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Lion
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Lion([weight], lr=0.25)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.75, 2.25], dtype=float32)
    """

    spec = signs.LION

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-4,
        beta1: Real = 0.9,
        beta2: Real = 0.99,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class Rprop(Optimizer):
    """Rprop, a step size per element, adapted by the gradient's signs: `fastopt.rprop` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0
        Initial step size.
    eta_minus, eta_plus : float
        Factors of a step size where the sign changes, and where it does not.
    step_min, step_max : float >= 0
        Minimum and maximum of step sizes.
    weight_decay : float >= 0
        Coupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Rprop
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Rprop([weight], lr=0.25)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.75, 2.25], dtype=float32)
    """

    spec = signs.RPROP

    def __init__(
        self,
        params: Params,
        *,
        lr: Real = 1e-2,
        eta_minus: Real = 0.5,
        eta_plus: Real = 1.2,
        step_min: Real = 1e-6,
        step_max: Real = 50.0,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)
