"""Gradient descent, with and without momentum."""

from __future__ import annotations

from math import exp, log1p
from typing import Literal, SupportsIndex

from fastopt.coefficients.update import refuse
from fastopt.common.types import Array, Backend, Real, Stream
from fastopt.engine.update.run import run
from fastopt.reference.update import gradient
from fastopt.rules import update as rules
from fastopt.specs.updates import declare

__all__ = ["asgd", "momentum", "sgd"]


# ---- Gradient descent


def _sgd_coefficients(lr, weight_decay, grad_scale):
    return grad_scale, weight_decay, 0.0, lr


def _sgd_reference(param, grad, *, lr, weight_decay, grad_scale):
    """Stochastic gradient descent (Robbins & Monro 1951): p -= lr * g."""
    g = gradient(param, grad, grad_scale, weight_decay)
    param -= lr * g


SGD = declare("sgd", rules.sgd, _sgd_coefficients, _sgd_reference)


def sgd(
    param: Array,
    grad: Array,
    *,
    lr: Real,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Gradient descent.

        g = grad_scale * grad + weight_decay * param
        param -= lr * g

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    lr : float >= 0
        Learning rate.
    weight_decay, grad_scale : float
        Coupled weight decay (>= 0), identical to a decoupled one of lr * weight_decay here, and the factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    The default lr is 1e-3 in PyTorch and 0.01 in Keras; here, as in optax, lr is required.

    References
    ----------
    H. Robbins and S. Monro, "A Stochastic Approximation Method", 1951.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import sgd
    >>> param = np.array([1.0, -2.0], np.float32)
    >>> grad = np.array([0.5, 0.25], np.float32)
    >>> sgd(param, grad, lr=0.5)
    >>> param
    array([ 0.75 , -2.125], dtype=float32)
    """
    run(SGD, (param, grad), (lr, weight_decay, grad_scale), backend, num_threads, stream)


# ---- Momentum


def _momentum_coefficients(lr, momentum, dampening, nesterov, form, weight_decay, grad_scale):
    if dampening and (nesterov or form != "sum"):
        refuse("dampening", dampening, "0 unless form is 'sum' and nesterov is False")
    if form == "sum":
        return grad_scale, weight_decay, 0.0, lr, momentum, 1.0 - dampening
    if form == "average":
        return grad_scale, weight_decay, 0.0, lr, momentum, 1.0 - momentum
    if form != "step":
        refuse("form", form, "'sum', 'average' or 'step'")
    return grad_scale, weight_decay, 0.0, 1.0, momentum, lr


def _momentum_reference(param, grad, velocity, *, lr, momentum, dampening, nesterov, form, weight_decay, grad_scale):
    """Momentum (Polyak 1964), with Nesterov's look-ahead as in Sutskever et al. 2013, section 2.

    ``form="sum"`` is PyTorch's, ``"average"`` weights the newest gradient by 1 - momentum, and ``"step"`` includes the
    learning rate in the velocity, as Sutskever's equation 1. The look-ahead applies the same recursion once more.
    """
    g = gradient(param, grad, grad_scale, weight_decay)
    if form == "sum":
        velocity[...] = momentum * velocity + (1 - dampening) * g
        param -= lr * (g + momentum * velocity) if nesterov else lr * velocity
    elif form == "average":
        velocity[...] = momentum * velocity + (1 - momentum) * g
        param -= lr * ((1 - momentum) * g + momentum * velocity) if nesterov else lr * velocity
    elif form == "step":
        velocity[...] = momentum * velocity + lr * g
        param -= lr * g + momentum * velocity if nesterov else velocity


MOMENTUM = declare(
    "momentum",
    {False: rules.momentum, True: rules.nesterov},
    _momentum_coefficients,
    _momentum_reference,
    condition="nesterov",
    choices={"form": ("sum", "average", "step")},
)


def momentum(
    param: Array,
    grad: Array,
    velocity: Array,
    *,
    lr: Real,
    momentum: Real = 0.9,
    dampening: Real = 0.0,
    nesterov: bool = False,
    form: Literal["sum", "average", "step"] = "sum",
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Gradient descent with momentum, in each of the common forms.

        g = grad_scale * grad + weight_decay * param
        form="sum":      velocity = momentum * velocity + (1 - dampening) * g
        form="average":  velocity = momentum * velocity + (1 - momentum) * g
        form="step":     velocity = momentum * velocity + lr * g
        param -= lr * velocity                  (form="step": param -= velocity)

    With ``nesterov``, param moves by the velocity after the same recursion is applied once more. With form="sum", this
    is param -= lr * (g + momentum * velocity).

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    velocity : array
        Updated; starts from zeros.
    lr : float >= 0
        Learning rate.
    momentum : float in [0, 1]
        Decay rate of the velocity.
    dampening : float
        Fraction of g that is not added to the velocity; other than 0 only with form="sum" and without nesterov.
    nesterov : bool
        Whether to use Nesterov momentum.
    form : {"sum", "average", "step"}
        Whether the velocity is a sum of gradients, their exponentially weighted average, or a sum of steps.
    weight_decay, grad_scale : float
        Coupled weight decay (>= 0), which enters the velocity, and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If dampening, nesterov and form are incompatible, momentum is outside [0, 1], or lr is negative.
    TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    "sum" is the form of PyTorch and optax. PyTorch starts the velocity from the first g, undampened; with dampening,
    the two differ until that term has decayed. "step" is the form of Sutskever and Keras, where the velocity has the
    opposite sign. It moves param as "sum" does while lr is constant; after a change of lr, the velocity still contains
    steps made with the old lr. The default momentum of PyTorch and Keras is 0.

    References
    ----------
    B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964. I. Sutskever et al., "On the
    importance of initialization and momentum in deep learning", 2013, equations 1 to 4 (param is the point they look
    ahead to).

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import momentum
    >>> param, velocity = np.ones(2, np.float32), np.full(2, 0.5, np.float32)
    >>> momentum(param, np.array([1.0, -1.0], np.float32), velocity, lr=0.5, momentum=0.5)
    >>> velocity
    array([ 1.25, -0.75], dtype=float32)
    >>> param
    array([0.375, 1.375], dtype=float32)
    """
    hyperparameters = (lr, momentum, dampening, nesterov, form, weight_decay, grad_scale)
    run(MOMENTUM, (param, grad, velocity), hyperparameters, backend, num_threads, stream)


# ---- Averaged gradient descent


def _asgd_coefficients(step, lr, lambd, alpha, t0, weight_decay, grad_scale):
    eta = lr * exp(-alpha * log1p(lambd * lr * (step - 1)))
    mu = 1.0 / max(1.0, step - 1 - t0)
    return grad_scale, weight_decay, lambd * eta, eta, 0.0 if mu == 1.0 else 1.0, mu


def _asgd_reference(param, grad, average, *, step, lr, lambd, alpha, t0, weight_decay, grad_scale):
    """Averaged gradient descent (Polyak & Juditsky 1992), with PyTorch's schedules of the learning rate and of mu."""
    g = gradient(param, grad, grad_scale, weight_decay)
    eta = lr / (1 + lambd * lr * (step - 1)) ** alpha
    mu = 1 / max(1, step - 1 - t0)
    param[...] = (1 - lambd * eta) * param - eta * g
    average[...] = average + mu * (param - average) if mu < 1 else param


ASGD = declare("asgd", rules.asgd, _asgd_coefficients, _asgd_reference)


def asgd(
    param: Array,
    grad: Array,
    average: Array,
    *,
    step: SupportsIndex,
    lr: Real = 1e-2,
    lambd: Real = 1e-4,
    alpha: Real = 0.75,
    t0: Real = 1e6,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Gradient descent with a running average of the parameters.

        g = grad_scale * grad + weight_decay * param
        eta = lr / (1 + lambd * lr * (step - 1))^alpha
        mu = 1 / max(1, step - 1 - t0)
        param = (1 - lambd * eta) * param - eta * g
        average += mu * (param - average)

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    average : array
        Updated; starts from zeros. It is a copy of param while mu is 1.
    step : int >= 1
        Number of this step, counted from 1.
    lr : float >= 0
        Learning rate of the first step.
    lambd : float >= 0
        Decay of param, and decay rate of the learning rate.
    alpha : float >= 0
        Exponent of the learning rate's decay.
    t0 : float >= 0
        Step after which averaging starts.
    weight_decay, grad_scale : float
        Coupled weight decay (>= 0) beside that of lambd, and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    As PyTorch's ASGD, which stores eta and mu in float32. Use ``average`` for prediction. Not in Keras or optax.

    References
    ----------
    B. Polyak and A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992. L. Bottou, "Large-Scale
    Machine Learning with Stochastic Gradient Descent", 2010, for the learning rate.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import asgd
    >>> param, average = np.array([1.0, -1.0], np.float32), np.zeros(2, np.float32)
    >>> grad = np.array([1.0, 2.0], np.float32)
    >>> asgd(param, grad, average, step=1, lr=0.25, lambd=0.0)
    >>> param, average
    (array([ 0.75, -1.5 ], dtype=float32), array([ 0.75, -1.5 ], dtype=float32))
    """
    hyperparameters = (step, lr, lambd, alpha, t0, weight_decay, grad_scale)
    run(ASGD, (param, grad, average), hyperparameters, backend, num_threads, stream)
