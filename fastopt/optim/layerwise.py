"""Layer-wise optimizers, which scale each tensor's step by the tensor's norm."""

from __future__ import annotations

from typing import Any

from fastopt.common.arguments import hyperparameters_of
from fastopt.common.types import OptimizerOptions, Params, Real, Unpack
from fastopt.engine.core.hyperparameters import Hyperparameters
from fastopt.engine.update.plan import Layerwise
from fastopt.engine.update.update import Update
from fastopt.optim.optimizer import LearningRate, Optimizer
from fastopt.updates import adam, descent

__all__ = ["LAMB", "LARS"]

_lars = Hyperparameters("trust_coefficient", "eps")


class LARS(Optimizer):
    """LARS, layer-wise adaptive rate scaling: momentum with a learning rate proportional to each tensor's norm.

        g = grad_scale * grad
        trust = trust_coefficient * |param| / (|g| + weight_decay * |param| + eps)    (1 where a norm is 0)
        velocity = momentum * velocity + lr * trust * (g + weight_decay * param)
        param -= velocity

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate.
    momentum : float in [0, 1]
        Decay rate of the velocity.
    nesterov : bool
        Whether to use Nesterov momentum.
    trust_coefficient : float >= 0
        Length of a step relative to the norm of its tensor.
    eps : float >= 0
        Added to the denominator.
    weight_decay : float >= 0
        Coupled weight decay.
    **options
        Options of every optimizer: see `fastopt.optim`. max_tensor_norm is not for layer-wise optimizers.

    Notes
    -----
    Not in PyTorch. optax.lars divides by the norm of g + weight_decay * param in place of the sum of the two norms.
    Biases and weights of norms are usually excluded from LARS: pass them to another optimizer.

    References
    ----------
    Y. You, I. Gitman and B. Ginsburg, "Large Batch Training of Convolutional Networks", 2017, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import LARS
    >>> weight = np.array([3.0, 4.0], np.float32)
    >>> optimizer = LARS([weight], lr=1.0, trust_coefficient=0.5)
    >>> result = optimizer.step([np.array([0.0, 8.0], np.float32)])
    >>> weight
    array([3. , 1.5], dtype=float32)
    """

    spec = descent.MOMENTUM

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate,
        momentum: Real = 0.9,
        nesterov: bool = False,
        trust_coefficient: Real = 1e-3,
        eps: Real = 0.0,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)

    def choose(self, number: int, step: int, grad_scale: Any) -> tuple[Update, tuple[Any, ...]]:
        """Return a group's update for one step, and its hyperparameters: momentum with form="step"."""
        values = self.groups[number].__dict__
        _lars(values["trust_coefficient"], values["eps"])
        lr = values["lr"](step) if callable(values["lr"]) else values["lr"]
        momentum = (lr, values["momentum"], 0.0, values["nesterov"], "step", values["weight_decay"], grad_scale)
        return self.spec.update_for(values), momentum

    def layerwise(self) -> Layerwise:
        """Steps depend on the norms of param and grad."""
        return Layerwise(self._trust, ("gain",), False)

    def _trust(self, number: int, param_norm: float, grad_norm: float) -> float:
        values = self.groups[number].__dict__
        coefficient, decay, eps = (float(values[name]) for name in ("trust_coefficient", "weight_decay", "eps"))
        if not (param_norm > 0.0 and grad_norm > 0.0):
            return 1.0
        return coefficient * param_norm / (grad_norm + decay * param_norm + eps)


class LAMB(Optimizer):
    """LAMB, layer-wise adaptive moments: AdamW with steps proportional to each tensor's norm.

        m, v, m_hat, v_hat: as in `fastopt.adamw`
        direction = m_hat / (sqrt(v_hat) + eps) + weight_decay * param
        param -= lr * |param| / |direction| * direction                               (the ratio is 1 where a norm is 0)

    Parameters
    ----------
    params : list or dict of arrays, or list of groups
        Parameters; every step updates them in place.
    lr : float >= 0 or function of the step
        Learning rate: the length of a step relative to the norm of its tensor.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of m and v.
    eps : float >= 0
        Added to the bias-corrected square root.
    weight_decay : float >= 0
        Weight decay, which is part of the direction.
    **options
        Options of every optimizer: see `fastopt.optim`. max_tensor_norm is not for layer-wise optimizers.

    Notes
    -----
    As optax.lamb; the paper's function phi is the identity. Not in PyTorch.

    References
    ----------
    Y. You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2020, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.optim import LAMB
    >>> weight = np.array([3.0, 4.0], np.float32)
    >>> optimizer = LAMB([weight], lr=0.5, eps=0.0)
    >>> result = optimizer.step([np.array([0.0, 8.0], np.float32)])
    >>> weight
    array([3. , 1.5], dtype=float32)
    """

    spec = adam.ADAMW

    def __init__(
        self,
        params: Params,
        *,
        lr: LearningRate = 1e-3,
        beta1: Real = 0.9,
        beta2: Real = 0.999,
        eps: Real = 1e-6,
        weight_decay: Real = 0.0,
        **options: Unpack[OptimizerOptions],
    ):
        super().__init__(params, hyperparameters_of(locals()), **options)

    def layerwise(self) -> Layerwise:
        """Steps depend on the norms of param and of the direction."""
        return Layerwise(_lamb_trust, ("step_size", "decay"), True)


def _lamb_trust(number: int, param_norm: float, direction_norm: float) -> float:
    return param_norm / direction_norm if param_norm > 0.0 and direction_norm > 0.0 else 1.0
