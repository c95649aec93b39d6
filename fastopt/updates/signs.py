"""Updates by the sign of the gradient or of its average."""

from __future__ import annotations

import numpy as np

from fastopt.coefficients.update import refuse
from fastopt.common.types import Array, Backend, Real, Stream
from fastopt.engine.update.run import run
from fastopt.reference.update import decay_weights, gradient
from fastopt.rules import update as rules
from fastopt.specs.updates import declare

__all__ = ["lion", "rprop", "signum"]


# ---- Signum


def _signum_coefficients(lr, beta, weight_decay, grad_scale):
    return grad_scale, 0.0, lr * weight_decay, lr, beta, 1.0 - beta


def _signum_reference(param, grad, m, *, lr, beta, weight_decay, grad_scale):
    """Signum (Bernstein et al. 2018, Algorithm 2)."""
    g = gradient(param, grad, grad_scale, 0)
    m[...] = beta * m + (1 - beta) * g
    decay_weights(param, lr, weight_decay)
    param -= lr * np.sign(m)


SIGNUM = declare("signum", rules.signum, _signum_coefficients, _signum_reference, decoupled=True)


def signum(
    param: Array,
    grad: Array,
    m: Array,
    *,
    lr: Real = 1e-4,
    beta: Real = 0.9,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Signum: steps of constant size along the signs of the averaged gradient.

        g = grad_scale * grad
        m = beta * m + (1 - beta) * g
        param = (1 - lr * weight_decay) * param - lr * sign(m)

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m : array
        Updated; starts from zeros.
    lr : float >= 0
        Learning rate, which is the size of every step.
    beta : float in [0, 1)
        Exponential decay rate of m; 0 gives signSGD.
    weight_decay, grad_scale : float
        Decoupled weight decay (>= 0), and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    sign(0) is 0, so an element whose average is 0 does not move. Neither PyTorch nor Keras has Signum. optax.signum has
    no default lr and no weight decay.

    References
    ----------
    J. Bernstein et al., "signSGD: Compressed Optimisation for Non-Convex Problems", 2018, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import signum
    >>> param, m = np.ones(3, np.float32), np.zeros(3, np.float32)
    >>> signum(param, np.array([4.0, -0.01, 0.0], np.float32), m, lr=0.25)
    >>> param
    array([0.75, 1.25, 1.  ], dtype=float32)
    """
    run(SIGNUM, (param, grad, m), (lr, beta, weight_decay, grad_scale), backend, num_threads, stream)


# ---- Lion


def _lion_coefficients(lr, beta1, beta2, weight_decay, grad_scale):
    return grad_scale, 0.0, lr * weight_decay, lr, beta1, 1.0 - beta1, beta2, 1.0 - beta2


def _lion_reference(param, grad, m, *, lr, beta1, beta2, weight_decay, grad_scale):
    """Lion (Chen et al. 2023, Algorithm 2)."""
    g = gradient(param, grad, grad_scale, 0)
    c = beta1 * m + (1 - beta1) * g
    decay_weights(param, lr, weight_decay)
    param -= lr * np.sign(c)
    m[...] = beta2 * m + (1 - beta2) * g


LION = declare("lion", rules.lion, _lion_coefficients, _lion_reference, decoupled=True)


def lion(
    param: Array,
    grad: Array,
    m: Array,
    *,
    lr: Real = 1e-4,
    beta1: Real = 0.9,
    beta2: Real = 0.99,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Lion, evolved sign momentum: steps along the sign of a gradient mixed with its average.

        g = grad_scale * grad
        param = (1 - lr * weight_decay) * param - lr * sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m : array
        Updated; starts from zeros.
    lr : float >= 0
        Learning rate, which is the size of every step.
    beta1, beta2 : float in [0, 1)
        Weight of m in the direction, and exponential decay rate of m.
    weight_decay, grad_scale : float
        Decoupled weight decay (>= 0), and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    sign(0) is 0. PyTorch has no Lion. The default lr of Keras is 1e-3; the default weight decay of optax is 1e-3.

    References
    ----------
    X. Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import lion
    >>> param, m = np.ones(2, np.float32), np.array([0.5, 0.5], np.float32)
    >>> lion(param, np.array([1.0, -9.0], np.float32), m, lr=0.5, beta2=0.5)
    >>> param, m
    (array([0.5, 1.5], dtype=float32), array([ 0.75, -4.25], dtype=float32))
    """
    run(LION, (param, grad, m), (lr, beta1, beta2, weight_decay, grad_scale), backend, num_threads, stream)


# ---- Rprop


def _rprop_coefficients(eta_minus, eta_plus, step_min, step_max, weight_decay, grad_scale):
    if step_min > step_max:
        refuse("step_min", step_min, "at most step_max", step_max)
    return grad_scale, weight_decay, 0.0, eta_plus, eta_minus, step_min, step_max, 0.0, 1.0


def _rprop_reference(
    param, grad, prev_grad, step_size, *, eta_minus, eta_plus, step_min, step_max, weight_decay, grad_scale
):
    """Resilient backpropagation (Riedmiller & Braun 1993), without backtracking (Igel & Huesken 2000)."""
    g = gradient(param, grad, grad_scale, weight_decay)
    # The papers multiply gradients, whose product can underflow to 0; this multiplies their signs.
    agreement = np.sign(g) * np.sign(prev_grad)
    step_size[agreement > 0] *= eta_plus
    step_size[agreement < 0] *= eta_minus
    step_size[...] = np.clip(step_size, step_min, step_max)
    g = np.where(agreement < 0, 0, g)  # after a change of sign: no step, and prev_grad is 0
    param -= np.sign(g) * step_size
    prev_grad[...] = g


RPROP = declare(
    "rprop", rules.rprop, _rprop_coefficients, _rprop_reference, nonnegative=("step_size",), starts={"step_size": "lr"}
)


def rprop(
    param: Array,
    grad: Array,
    prev_grad: Array,
    step_size: Array,
    *,
    eta_minus: Real = 0.5,
    eta_plus: Real = 1.2,
    step_min: Real = 1e-6,
    step_max: Real = 50.0,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Rprop, resilient backpropagation: an element's step size grows while its gradient keeps its sign.

        g = grad_scale * grad + weight_decay * param
        s = sign(g) * sign(prev_grad)
        step_size *= eta_plus where s > 0, eta_minus where s < 0; then clipped to [step_min, step_max]
        g = 0 where s < 0
        param -= step_size * sign(g)
        prev_grad = g

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    prev_grad : array
        Updated; starts from zeros.
    step_size : array
        Updated; starts from the initial learning rate (1e-2 in PyTorch, 0.1 in the paper).
    eta_minus, eta_plus : float in (0, 1), float > 1
        Factors by which a step size shrinks and grows.
    step_min, step_max : float >= 0
        Minimum and maximum of a step size.
    weight_decay, grad_scale : float
        Coupled weight decay (>= 0) and factor on grad. They can change the sign of g; its magnitude has no effect.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step_min is above step_max, or an eta is out of its range.
    TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    Rprop needs gradients of the whole data set: in small batches, their signs are too noisy. It has no backtracking
    (iRprop-), as in PyTorch, whose Rprop has no weight decay and takes the sign of g * prev_grad, a product that can
    underflow to 0. optax.rprop clips only the steps that change. Keras has no Rprop.

    References
    ----------
    M. Riedmiller and H. Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm",
    1993. C. Igel and M. Huesken, "Improving the Rprop Learning Algorithm", 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import rprop
    >>> param, prev_grad = np.ones(3, np.float32), np.array([1.0, 1.0, 0.0], np.float32)
    >>> step_size = np.full(3, 0.5, np.float32)
    >>> rprop(param, np.array([2.0, -2.0, 2.0], np.float32), prev_grad, step_size, eta_plus=1.5)
    >>> param, step_size
    (array([0.25, 1.  , 0.5 ], dtype=float32), array([0.75, 0.25, 0.5 ], dtype=float32))
    """
    hyperparameters = (eta_minus, eta_plus, step_min, step_max, weight_decay, grad_scale)
    run(RPROP, (param, grad, prev_grad, step_size), hyperparameters, backend, num_threads, stream)
