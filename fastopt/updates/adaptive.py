"""Updates with a learning rate per element, derived from the squares of its gradients."""

from __future__ import annotations

from typing import SupportsIndex

import numpy as np

from fastopt.coefficients.update import TINY, refuse
from fastopt.common.types import Array, Backend, Real, Stream
from fastopt.engine.update.run import run
from fastopt.reference.update import gradient
from fastopt.rules import update as rules
from fastopt.specs.updates import declare

__all__ = ["adadelta", "adagrad", "rmsprop"]


# ---- Adagrad


def _adagrad_coefficients(step, lr, lr_decay, eps, weight_decay, grad_scale):
    return grad_scale, weight_decay, 0.0, lr / (1.0 + (step - 1) * lr_decay), eps


def _adagrad_reference(param, grad, square_sum, *, step, lr, lr_decay, eps, weight_decay, grad_scale):
    """Adagrad (Duchi et al. 2011, diagonal form), with PyTorch's decay of the learning rate."""
    g = gradient(param, grad, grad_scale, weight_decay)
    lr_t = lr / (1 + (step - 1) * lr_decay)
    square_sum += g**2
    param -= lr_t * g / (np.sqrt(square_sum) + eps)


ADAGRAD = declare("adagrad", rules.adagrad, _adagrad_coefficients, _adagrad_reference, nonnegative=("square_sum",))


def adagrad(
    param: Array,
    grad: Array,
    square_sum: Array,
    *,
    step: SupportsIndex = 1,
    lr: Real = 1e-2,
    lr_decay: Real = 0.0,
    eps: Real = 1e-10,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Adagrad: the gradient divided by the root of the sum of all squared gradients.

        g = grad_scale * grad + weight_decay * param
        square_sum += g^2
        param -= lr / (1 + (step - 1) * lr_decay) * g / (sqrt(square_sum) + eps)

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    square_sum : array
        Updated; starts from zeros.
    step : int >= 1
        This step's number; it matters with lr_decay only.
    lr : float >= 0
        Learning rate.
    lr_decay : float >= 0
        Decay rate of the learning rate.
    eps : float >= 0
        Added to the square root.
    weight_decay, grad_scale : float
        Coupled weight decay (>= 0), which enters the sum, and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    As in PyTorch. Keras and optax start square_sum from 0.1 and add eps=1e-7 under the root; Keras' lr is 1e-3.

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization",
    2011, with diagonal matrices.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import adagrad
    >>> param, square_sum = np.ones(2, np.float32), np.array([9.0, 0.0], np.float32)
    >>> adagrad(param, np.array([4.0, 0.25], np.float32), square_sum, lr=0.5, eps=0.0)
    >>> param, square_sum
    (array([0.6, 0.5], dtype=float32), array([25.    ,  0.0625], dtype=float32))
    """
    hyperparameters = (step, lr, lr_decay, eps, weight_decay, grad_scale)
    run(ADAGRAD, (param, grad, square_sum), hyperparameters, backend, num_threads, stream)


# ---- RMSprop


def _rmsprop_coefficients(lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale):
    if momentum:
        refuse("momentum", momentum, "0, because velocity is None")
    return _rmsprop_momentum_coefficients(lr, decay, eps, eps_inside_sqrt, 0.0, weight_decay, grad_scale)[:-1]


def _rmsprop_momentum_coefficients(lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale):
    inside, outside = (eps, 0.0) if eps_inside_sqrt and eps else (0.0, eps)
    return grad_scale, weight_decay, 0.0, lr, decay, 1.0 - decay, inside, outside, momentum


def _rmsprop_reference(
    param, grad, square_avg, grad_avg=None, velocity=None, *,
    lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale,
):  # fmt: skip
    """RMSProp (Tieleman & Hinton 2012, lecture 6.5); centered, and with momentum, as Graves 2013, equations 38 to 41.

    As in PyTorch, the velocity accumulates steps before they are multiplied by lr: a new lr takes effect at once.
    """
    g = gradient(param, grad, grad_scale, weight_decay)
    square_avg[...] = decay * square_avg + (1 - decay) * g**2
    variance = square_avg
    if grad_avg is not None:
        grad_avg[...] = decay * grad_avg + (1 - decay) * g
        variance = square_avg - grad_avg**2
    delta = g / (np.sqrt(variance + eps) if eps_inside_sqrt else np.sqrt(variance) + eps)
    if velocity is not None:
        velocity[...] = momentum * velocity + delta
        delta = velocity
    param -= lr * delta


RMSPROP = declare(
    "rmsprop",
    {
        (): rules.rmsprop,
        ("grad_avg",): rules.rmsprop_centered,
        ("velocity",): rules.rmsprop_momentum,
        ("grad_avg", "velocity"): rules.rmsprop_centered_momentum,
    },
    {
        (): _rmsprop_coefficients,
        ("grad_avg",): _rmsprop_coefficients,
        ("velocity",): _rmsprop_momentum_coefficients,
        ("grad_avg", "velocity"): _rmsprop_momentum_coefficients,
    },
    _rmsprop_reference,
    nonnegative=("square_avg",),
    options={"grad_avg": "centered", "velocity": "momentum"},
    torch_names={"decay": "alpha"},
)


def rmsprop(
    param: Array,
    grad: Array,
    square_avg: Array,
    grad_avg: Array | None = None,
    velocity: Array | None = None,
    *,
    lr: Real = 1e-2,
    decay: Real = 0.99,
    eps: Real = 1e-8,
    eps_inside_sqrt: bool = False,
    momentum: Real = 0.0,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """RMSProp: the gradient divided by the root of its averaged square; optionally centered, with momentum, or both.

        g = grad_scale * grad + weight_decay * param
        square_avg = decay * square_avg + (1 - decay) * g^2
        param -= lr * g / (sqrt(square_avg) + eps)

    The centered variant replaces square_avg in the last line by square_avg - grad_avg^2, where
    grad_avg = decay * grad_avg + (1 - decay) * g. With momentum, the last line becomes

        velocity = momentum * velocity + g / (sqrt(square_avg) + eps)
        param -= lr * velocity

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    square_avg : array
        Updated; starts from zeros.
    grad_avg : array, optional
        Updated; starts from zeros. If given, the update is centered.
    velocity : array, optional
        Updated; starts from zeros. If given, the update has momentum.
    lr : float >= 0
        Learning rate.
    decay : float in [0, 1]
        Exponential decay rate of the averages; PyTorch's alpha, Keras' rho.
    eps : float >= 0
        Added to the square root.
    eps_inside_sqrt : bool
        Whether to add eps under the root: sqrt(square_avg + eps).
    momentum : float in [0, 1]
        Decay rate of the velocity; more than 0 only with a velocity.
    weight_decay, grad_scale : float
        Coupled weight decay (>= 0), which enters both averages, and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If momentum is not 0 without a velocity, decay or momentum is outside [0, 1], or lr, eps or weight_decay is < 0.
    TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    Defaults are PyTorch's. Keras has lr=1e-3, decay=0.9 and eps=1e-7; optax has decay=0.9. Both add eps under the root
    and include lr in the velocity, which differs after a change of lr. Rounding can make the variance of the centered
    update negative. This function then uses its absolute value; in PyTorch the root is NaN.

    References
    ----------
    T. Tieleman and G. Hinton, "Lecture 6.5 - RMSProp", 2012. A. Graves, "Generating Sequences With Recurrent Neural
    Networks", 2013, equations 38 to 41 (centered, with momentum).

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import rmsprop
    >>> param, square_avg = np.ones(2, np.float32), np.zeros(2, np.float32)
    >>> rmsprop(param, np.array([2.0, -8.0], np.float32), square_avg, lr=0.25, decay=0.75, eps=0.0)
    >>> param, square_avg
    (array([0.5, 1.5], dtype=float32), array([ 1., 16.], dtype=float32))
    """
    arrays = (param, grad, square_avg, grad_avg, velocity)
    hyperparameters = (lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale)
    run(RMSPROP, arrays, hyperparameters, backend, num_threads, stream)


# ---- Adadelta


def _adadelta_coefficients(lr, decay, eps, weight_decay, grad_scale):
    return grad_scale, weight_decay, 0.0, lr, decay, 1.0 - decay, eps or TINY


def _adadelta_reference(param, grad, square_avg, delta_avg, *, lr, decay, eps, weight_decay, grad_scale):
    """Adadelta (Zeiler 2012, Algorithm 1), times a learning rate that the paper does not have."""
    g = gradient(param, grad, grad_scale, weight_decay)
    square_avg[...] = decay * square_avg + (1 - decay) * g**2
    delta = np.sqrt(delta_avg + eps) / np.sqrt(square_avg + eps) * g
    delta_avg[...] = decay * delta_avg + (1 - decay) * delta**2
    param -= lr * delta


ADADELTA = declare(
    "adadelta",
    rules.adadelta,
    _adadelta_coefficients,
    _adadelta_reference,
    nonnegative=("square_avg", "delta_avg"),
    torch_names={"decay": "rho"},
)


def adadelta(
    param: Array,
    grad: Array,
    square_avg: Array,
    delta_avg: Array,
    *,
    lr: Real = 1.0,
    decay: Real = 0.9,
    eps: Real = 1e-6,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Adadelta: the gradient scaled by the ratio of the averaged steps to the averaged gradients.

        g = grad_scale * grad + weight_decay * param
        square_avg = decay * square_avg + (1 - decay) * g^2
        delta = sqrt(delta_avg + eps) / sqrt(square_avg + eps) * g
        delta_avg = decay * delta_avg + (1 - decay) * delta^2
        param -= lr * delta

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    square_avg, delta_avg : array
        Updated; start from zeros.
    lr : float >= 0
        Factor that multiplies the step.
    decay : float in [0, 1]
        Exponential decay rate of the averages; rho in PyTorch, Keras and the paper.
    eps : float >= 0
        Added under both roots. It sets the size of the first steps; with 0, param hardly changes.
    weight_decay, grad_scale : float
        Coupled weight decay (>= 0), which enters both averages, and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    Defaults are PyTorch's. The paper has no lr, decay=0.95 and eps=1e-6; Keras has lr=1e-3, decay=0.95 and eps=1e-7.

    References
    ----------
    M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import adadelta
    >>> param = np.ones(2, np.float32)
    >>> square_avg, delta_avg = np.zeros(2, np.float32), np.full(2, 0.25, np.float32)
    >>> adadelta(param, np.array([2.0, -2.0], np.float32), square_avg, delta_avg, decay=0.75, eps=0.0)
    >>> param, delta_avg
    (array([0., 2.], dtype=float32), array([0.4375, 0.4375], dtype=float32))
    """
    hyperparameters = (lr, decay, eps, weight_decay, grad_scale)
    run(ADADELTA, (param, grad, square_avg, delta_avg), hyperparameters, backend, num_threads, stream)
