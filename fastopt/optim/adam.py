"""Adam and related optimizers for whole models."""

from __future__ import annotations

from typing import Any, SupportsIndex

from fastopt.common.arguments import hyperparameters_of
from fastopt.common.types import OptimizerOptions, Params, Real, Unpack
from fastopt.engine.update.update import Update
from fastopt.optim.mu_products import MuProducts
from fastopt.optim.optimizer import LearningRate, Optimizer
from fastopt.updates import adam

__all__ = ["AdEMAMix", "AdaBelief", "Adam", "AdamW", "Adamax", "Adan", "NAdam", "RAdam", "Yogi"]


class Adam(Optimizer):
    """Adam: `fastopt.adam` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of the averages of the gradient and of its square.
    eps : float >= 0
        Added to the square root.
    bias_correction : bool
        Whether to correct the bias of the averages.
    amsgrad : bool
        Use AMSGrad, which adds the state ``v_max``, the maximum of v.
    weight_decay : float >= 0
        Coupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Adam
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Adam([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.5, 2.5], dtype=float32)
    """

    spec = adam.ADAM

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-3,
        beta1: Real = 0.9,
        beta2: Real = 0.999,
        eps: Real = 1e-8,
        bias_correction: bool = True,
        amsgrad: bool = False,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class AdamW(Optimizer):
    """Adam with decoupled weight decay: `fastopt.adamw` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of the averages of the gradient and of its square.
    eps : float >= 0
        Added to the square root.
    amsgrad : bool
        Use AMSGrad, which adds the state ``v_max``, the maximum of v.
    weight_decay : float >= 0
        Decoupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import AdamW
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = AdamW([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.495, 2.49 ], dtype=float32)
    """

    spec = adam.ADAMW

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-3,
        beta1: Real = 0.9,
        beta2: Real = 0.999,
        eps: Real = 1e-8,
        amsgrad: bool = False,
        weight_decay: Real = 1e-2,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class Adamax(Optimizer):
    """AdaMax, Adam with the decayed maximum of the gradient's magnitude: `fastopt.adamax` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of the averages of the gradient and of its square.
    eps : float >= 0
        Added to ``|g|``, so that u stays above 0.
    weight_decay : float >= 0
        Coupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Adamax
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Adamax([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.5, 2.5], dtype=float32)
    """

    spec = adam.ADAMAX

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 2e-3,
        beta1: Real = 0.9,
        beta2: Real = 0.999,
        eps: Real = 1e-8,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class NAdam(Optimizer):
    """NAdam, Adam with Nesterov momentum: `fastopt.nadam` for a whole model; it stores mu_product.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of the averages of the gradient and of its square.
    eps : float >= 0
        Added to the square root.
    momentum_decay : float >= 0
        Rate at which mu rises from beta1 / 2 to beta1.
    decoupled_weight_decay : bool
        Whether the weight decay is decoupled.
    weight_decay : float >= 0
        Weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import NAdam
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = NAdam([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.4717741, 2.528226 ], dtype=float32)
    """

    spec = adam.NADAM

    #: None where hyperparameters are only validated: any product is valid then.
    _products: MuProducts | None = None

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 2e-3,
        beta1: Real = 0.9,
        beta2: Real = 0.999,
        eps: Real = 1e-8,
        momentum_decay: Real = 4e-3,
        decoupled_weight_decay: bool = False,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)
        self._products = MuProducts(self.groups, self._plan)

    @property
    def mu_products(self) -> list[float]:
        """The product of mu over each parameter's updates, where each mu used the hyperparameters at its update."""
        return [] if self._products is None else self._products.now()

    def choose(self, number: int, step: int, grad_scale: Any) -> tuple[Update, tuple[Any, ...]]:
        """Return the update of the parameters that share a history, which are in one group, and its hyperparameters."""
        history, number = number, number % len(self.groups)
        product = 0.0 if self._products is None else self._products.after(history, step)
        self.groups[number].__dict__["mu_product"] = product
        return super().choose(number, step, grad_scale)


class RAdam(Optimizer):
    """Rectified Adam: `fastopt.radam` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of the averages of the gradient and of its square.
    eps : float >= 0
        Added to the square root.
    decoupled_weight_decay : bool
        Whether the weight decay is decoupled.
    weight_decay : float >= 0
        Weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import RAdam
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = RAdam([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([-0.5,  2.5], dtype=float32)
    """

    spec = adam.RADAM

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-3,
        beta1: Real = 0.9,
        beta2: Real = 0.999,
        eps: Real = 1e-8,
        decoupled_weight_decay: bool = False,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class AdaBelief(Optimizer):
    """AdaBelief, Adam by the deviation of gradients from their average: `fastopt.adabelief` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of the averages of the gradient and of its square.
    eps : float >= 0
        Added to the square root.
    weight_decay : float >= 0
        Decoupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import AdaBelief
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = AdaBelief([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.44444448, 2.5555556 ], dtype=float32)
    """

    spec = adam.ADABELIEF

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-3,
        beta1: Real = 0.9,
        beta2: Real = 0.999,
        eps: Real = 1e-16,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class Yogi(Optimizer):
    """Yogi, Adam whose v changes by a bounded amount: `fastopt.yogi` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of the averages of the gradient and of its square.
    eps : float >= 0
        Added to the square root.
    bias_correction : bool
        Whether to correct the bias of the averages.
    weight_decay : float >= 0
        Decoupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Yogi
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Yogi([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.50019443, 2.4992511 ], dtype=float32)
    """

    spec = adam.YOGI

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-2,
        beta1: Real = 0.9,
        beta2: Real = 0.999,
        eps: Real = 1e-3,
        bias_correction: bool = True,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class AdEMAMix(Optimizer):
    """AdEMAMix, Adam with a second, slower average: `fastopt.ademamix` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of the averages of the gradient and of its square.
    beta3, alpha : float
        Decay rate of the slow average, and its weight.
    warmup : int, optional
        Number of steps over which both rise.
    eps : float >= 0
        Added to the square root.
    weight_decay : float >= 0
        Decoupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import AdEMAMix
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = AdEMAMix([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.49975002, 2.5002499 ], dtype=float32)
    """

    spec = adam.ADEMAMIX

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-3,
        beta1: Real = 0.9,
        beta2: Real = 0.999,
        beta3: Real = 0.9999,
        alpha: Real = 5.0,
        warmup: SupportsIndex | None = None,
        eps: Real = 1e-8,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)


class Adan(Optimizer):
    """Adan, Adam with Nesterov momentum by differences of gradients: `fastopt.adan` for a whole model.

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    beta1, beta2, beta3 : float in [0, 1)
        Exponential decay rates of the averages of the gradient, of its differences and of the squares.
    eps : float >= 0
        Added to the square root.
    weight_decay : float >= 0
        Decoupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import Adan
    >>> weight = np.array([1.0, 2.0], np.float32)
    >>> optimizer = Adan([weight], lr=0.5)
    >>> result = optimizer.step([np.array([3.0, -1.0], np.float32)])
    >>> weight
    array([0.49999994, 2.5       ], dtype=float32)
    """

    spec = adam.ADAN

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-3,
        beta1: Real = 0.98,
        beta2: Real = 0.92,
        beta3: Real = 0.99,
        eps: Real = 1e-8,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)
