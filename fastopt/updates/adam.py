"""Adam and related updates: exponential averages of the gradient and of its square."""

from __future__ import annotations

from math import exp, inf, log, sqrt
from typing import SupportsIndex

import numpy as np

from fastopt.coefficients.update import TINY, refuse
from fastopt.common.types import Array, Backend, Real, Stream
from fastopt.engine.core.hyperparameters import Hyperparameters, whole
from fastopt.engine.update.run import run
from fastopt.reference.update import decay_weights, gradient
from fastopt.rules import update as rules
from fastopt.specs.updates import declare

__all__ = ["adabelief", "adam", "adamax", "adamw", "adan", "ademamix", "nadam", "nadam_mu", "radam", "yogi"]


# ---- Adam

# step_size = lr / (1 - beta1^t) and correction = 1 / sqrt(1 - beta2^t) leave one division per element in the kernel.
# With two divisions, the kernel is compute-bound while the arrays are in cache.


def _adam_coefficients(step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale):
    if bias_correction:
        step_size, correction = lr / (1.0 - beta1**step), 1.0 / sqrt(1.0 - beta2**step)
    else:
        step_size, correction = lr, 1.0
    return (
        grad_scale, weight_decay, 0.0, step_size,
        beta1, 1.0 - beta1, beta2, 1.0 - beta2, correction, eps,
    )  # fmt: skip


def _adam_reference(
    param, grad, m, v, v_max=None, *, step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale
):
    """Adam (Kingma & Ba 2015, Algorithm 1); with ``v_max``, AMSGrad (Reddi et al. 2018, Algorithm 2).

    AMSGrad corrects the bias of the maximum, as PyTorch does; the paper has no bias correction.
    """
    g = gradient(param, grad, grad_scale, weight_decay)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    if v_max is not None:
        v_max[...] = np.maximum(v_max, v)
        v = v_max
    m_hat = m / (1 - beta1**step) if bias_correction else m
    v_hat = v / (1 - beta2**step) if bias_correction else v
    param -= lr * m_hat / (np.sqrt(v_hat) + eps)


ADAM = declare(
    "adam",
    {(): rules.adam, ("v_max",): rules.amsgrad},
    _adam_coefficients,
    _adam_reference,
    nonnegative=("v", "v_max"),
    options={"v_max": "amsgrad"},
)


def adam(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    v_max: Array | None = None,
    *,
    step: SupportsIndex,
    lr: Real = 1e-3,
    beta1: Real = 0.9,
    beta2: Real = 0.999,
    eps: Real = 1e-8,
    bias_correction: bool = True,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Adaptive moment estimation; with ``v_max``, AMSGrad.

        g = grad_scale * grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        m_hat = m / (1 - beta1^step)
        v_hat = v / (1 - beta2^step)            (AMSGrad: v_max = max(v_max, v) in place of v)
        param -= lr * m_hat / (sqrt(v_hat) + eps)

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m, v : array
        Updated; start from zeros.
    v_max : array, optional
        Updated; starts from zeros. If given, the update is AMSGrad.
    step : int >= 1
        Number of this step, counted from 1.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of m and v; beta1 = 0 gives RMSProp.
    eps : float >= 0
        Added to the bias-corrected square root.
    bias_correction : bool
        Whether to divide m and v by their bias. If False, m_hat = m and v_hat = v.
    weight_decay, grad_scale : float
        Coupled weight decay (>= 0), which enters m and v (`adamw` decouples it), and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    The formula is PyTorch's. Keras adds eps=1e-7 to the root without bias correction (the paper's "epsilon hat"), which
    corresponds to eps / sqrt(1 - beta2^step) here. AMSGrad corrects the bias of the maximum of v, as in PyTorch and
    Keras; optax.amsgrad takes the maximum of the corrected v; the paper has no correction (bias_correction=False).

    References
    ----------
    D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2014, Algorithm 1. S. Reddi et al., "On the
    Convergence of Adam and Beyond", 2018, Algorithm 2 (AMSGrad).

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import adam
    >>> param, m, v = np.ones(2, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32)
    >>> adam(param, np.array([4.0, -0.5], np.float32), m, v, step=1, lr=0.25, beta1=0.5, beta2=0.75)
    >>> param
    array([0.75, 1.25], dtype=float32)
    >>> m, v
    (array([ 2.  , -0.25], dtype=float32), array([4.    , 0.0625], dtype=float32))
    """
    hyperparameters = (step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale)
    run(ADAM, (param, grad, m, v, v_max), hyperparameters, backend, num_threads, stream)


# ---- AdamW


def _adamw_coefficients(step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    scalars = _adam_coefficients(step, lr, beta1, beta2, eps, True, 0.0, grad_scale)
    return (grad_scale, 0.0, lr * weight_decay) + scalars[3:]  # noqa: RUF005 (unpacked: 0.2 us more)


def _adamw_reference(param, grad, m, v, v_max=None, *, step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2); as in PyTorch, lr scales the decay."""
    decay_weights(param, lr, weight_decay)
    rest = {"bias_correction": True, "weight_decay": 0, "grad_scale": grad_scale}
    _adam_reference(param, grad, m, v, v_max, step=step, lr=lr, beta1=beta1, beta2=beta2, eps=eps, **rest)


ADAMW = declare(
    "adamw",
    {(): rules.adam, ("v_max",): rules.amsgrad},
    _adamw_coefficients,
    _adamw_reference,
    nonnegative=("v", "v_max"),
    options={"v_max": "amsgrad"},
    decoupled=True,
)


def adamw(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    v_max: Array | None = None,
    *,
    step: SupportsIndex,
    lr: Real = 1e-3,
    beta1: Real = 0.9,
    beta2: Real = 0.999,
    eps: Real = 1e-8,
    weight_decay: Real = 1e-2,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Adam with decoupled weight decay; with ``v_max``, AMSGrad.

        g = grad_scale * grad
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2       (AMSGrad: v_max = max(v_max, v), in place of v below)
        param = (1 - lr * weight_decay) * param - lr * m_hat / (sqrt(v_hat) + eps)

    with m_hat = m / (1 - beta1^step) and v_hat = v / (1 - beta2^step).

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m, v : array
        Updated; start from zeros.
    v_max : array, optional
        Updated; starts from zeros. If given, the update is AMSGrad.
    step : int >= 1
        Number of this step, counted from 1.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of m and v.
    eps : float >= 0
        Added to the bias-corrected square root.
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
    The formula is PyTorch's: lr multiplies the decay, where the paper has the schedule's factor alone. The default
    decay is 4e-3 in Keras and 1e-4 in optax. For Keras' eps and optax's AMSGrad, see the notes of `adam`.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", 2019, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import adamw
    >>> param, m, v = np.full(2, 2, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32)
    >>> adamw(param, np.array([3.0, 0.0], np.float32), m, v, step=1, lr=0.5, weight_decay=0.5)
    >>> param
    array([1. , 1.5], dtype=float32)
    """
    hyperparameters = (step, lr, beta1, beta2, eps, weight_decay, grad_scale)
    run(ADAMW, (param, grad, m, v, v_max), hyperparameters, backend, num_threads, stream)


# ---- AdaMax


def _adamax_coefficients(step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    return grad_scale, weight_decay, 0.0, lr / (1.0 - beta1**step), beta1, 1.0 - beta1, beta2, eps or TINY


def _adamax_reference(param, grad, m, u, *, step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    """AdaMax (Kingma & Ba 2015, Algorithm 2), with PyTorch's eps, so that u stays above zero."""
    g = gradient(param, grad, grad_scale, weight_decay)
    m[...] = beta1 * m + (1 - beta1) * g
    u[...] = np.maximum(beta2 * u, np.abs(g) + eps)
    m_hat = m / (1 - beta1**step)
    param -= lr * m_hat / u


ADAMAX = declare("adamax", rules.adamax, _adamax_coefficients, _adamax_reference, nonnegative=("u",))


def adamax(
    param: Array,
    grad: Array,
    m: Array,
    u: Array,
    *,
    step: SupportsIndex,
    lr: Real = 2e-3,
    beta1: Real = 0.9,
    beta2: Real = 0.999,
    eps: Real = 1e-8,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """AdaMax: Adam with the decayed maximum of the gradient's magnitude in place of the averaged square.

        g = grad_scale * grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        param -= lr / (1 - beta1^step) * m / u

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m, u : array
        Updated; start from zeros.
    step : int >= 1
        Number of this step, counted from 1.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of m and u.
    eps : float >= 0
        Added to ``|g|``, so that u stays above 0.
    weight_decay, grad_scale : float
        Coupled weight decay (>= 0), which enters m and u, and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    The formula is PyTorch's and optax's. The paper has no eps. Keras' defaults are lr=1e-3 and eps=1e-7, which it adds
    to u only in the division.

    References
    ----------
    D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2014, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import adamax
    >>> param, m, u = np.ones(2, np.float32), np.zeros(2, np.float32), np.array([8, 0], np.float32)
    >>> adamax(param, np.array([2.0, 2.0], np.float32), m, u, step=1, lr=0.5, beta2=0.5, eps=0.0)
    >>> param, u
    (array([0.75, 0.5 ], dtype=float32), array([4., 2.], dtype=float32))
    """
    hyperparameters = (step, lr, beta1, beta2, eps, weight_decay, grad_scale)
    run(ADAMAX, (param, grad, m, u), hyperparameters, backend, num_threads, stream)


# ---- NAdam

_nadam_mu = Hyperparameters("step", "beta1", "momentum_decay")


def nadam_mu(step: int, beta1: float = 0.9, momentum_decay: float = 4e-3) -> float:
    """Return mu of one step of `nadam`, the factor by which the caller multiplies ``mu_product``.

    mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2)

    Parameters
    ----------
    step : int
        Number of the step t, counted from 1.
    beta1, momentum_decay : float
        As given to `nadam`: 0 <= beta1 < 1, momentum_decay >= 0.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number or is out of its range.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", 2016.

    Examples
    --------
    >>> from fastopt import nadam_mu
    >>> round(nadam_mu(1), 6)
    0.450073
    """
    step, beta1, momentum_decay = _nadam_mu(step, beta1, momentum_decay)
    mu: float = _mu_at(step, beta1, momentum_decay)
    return mu


def _mu_at(step, beta1, momentum_decay):
    return beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))


def _nadam_coefficients(
    step, mu_product, lr, beta1, beta2, eps, momentum_decay, decoupled_weight_decay, weight_decay, grad_scale
):
    mu, next_mu = _mu_at(step, beta1, momentum_decay), _mu_at(step + 1, beta1, momentum_decay)
    if mu_product > mu * (1.0 + 1e-6):
        product = "the product of nadam_mu(1) to nadam_mu(step), which is at most nadam_mu(step)"
        refuse("mu_product", mu_product, product, mu)
    coupled, decay = _coupled_and_not(decoupled_weight_decay, lr, weight_decay)
    return (
        grad_scale, coupled, decay,
        lr * (1.0 - mu) / (1.0 - mu_product), lr * next_mu / (1.0 - mu_product * next_mu),
        beta1, 1.0 - beta1, beta2, 1.0 - beta2, 1.0 / sqrt(1.0 - beta2**step), eps,
    )  # fmt: skip


def _coupled_and_not(decoupled, lr, weight_decay):
    """Return the coefficients weight_decay and decay, one of which is 0."""
    return (0.0, lr * weight_decay) if decoupled else (weight_decay, 0.0)


def _nadam_reference(
    param, grad, m, v, *,
    step, mu_product, lr, beta1, beta2, eps, momentum_decay, decoupled_weight_decay, weight_decay, grad_scale,
):  # fmt: skip
    """Nadam (Dozat 2016, Algorithm 2) as in PyTorch: m decays by beta1, and mu applies only to the look-ahead.

    ``mu_product`` is the product of mu from the first step to this one.
    """
    if decoupled_weight_decay:
        decay_weights(param, lr, weight_decay)
        weight_decay = 0
    g = gradient(param, grad, grad_scale, weight_decay)
    mu = beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    m_hat = mu_next * m / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)
    v_hat = v / (1 - beta2**step)
    param -= lr * m_hat / (np.sqrt(v_hat) + eps)


NADAM = declare(
    "nadam", rules.nadam, _nadam_coefficients, _nadam_reference, nonnegative=("v",), decoupled="decoupled_weight_decay"
)


def nadam(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    step: SupportsIndex,
    mu_product: Real,
    lr: Real = 2e-3,
    beta1: Real = 0.9,
    beta2: Real = 0.999,
    eps: Real = 1e-8,
    momentum_decay: Real = 4e-3,
    decoupled_weight_decay: bool = False,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """NAdam: Adam with Nesterov momentum.

        mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        g = grad_scale * grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        m_hat = mu(step + 1) * m / (1 - mu_product * mu(step + 1)) + (1 - mu(step)) * g / (1 - mu_product)
        param -= lr * m_hat / (sqrt(v / (1 - beta2^step)) + eps)

    With ``decoupled_weight_decay``, g has no decay term and param is first multiplied by 1 - lr * weight_decay.

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m, v : array
        Updated; start from zeros.
    step : int >= 1
        Number of this step, counted from 1.
    mu_product : float in [0, 1)
        mu(1) * ... * mu(step), including this step. The caller computes it with `nadam_mu`.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of m and v; beta1 is also the limit of mu.
    eps : float >= 0
        Added to the bias-corrected square root.
    momentum_decay : float >= 0
        Rate at which mu rises from beta1 / 2 to beta1.
    decoupled_weight_decay : bool
        Whether the weight decay is decoupled.
    weight_decay, grad_scale : float
        Weight decay (>= 0), and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step is below 1, mu_product is above mu(step), or a beta is outside [0, 1).
    TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    The formula is PyTorch's, which stores mu_product in float32. Keras' defaults are momentum_decay=1, lr=1e-3 and
    eps=1e-7. optax.nadam uses beta1 in place of mu. In the paper, m also decays by mu.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", 2016, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import nadam, nadam_mu
    >>> param, m, v = np.ones(2, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32)
    >>> grad = np.array([2.0, -1.0], np.float32)
    >>> nadam(param, grad, m, v, step=1, mu_product=nadam_mu(1), lr=0.5, momentum_decay=4e-3)
    >>> param.round(4)
    array([0.4718, 1.5282], dtype=float32)
    """
    hyperparameters = (
        step, mu_product, lr, beta1, beta2, eps, momentum_decay, decoupled_weight_decay, weight_decay, grad_scale
    )  # fmt: skip
    run(NADAM, (param, grad, m, v), hyperparameters, backend, num_threads, stream)


# ---- RAdam

_radam_length = Hyperparameters("step", "beta2")


def radam_is_rectified(step: SupportsIndex, beta2: Real) -> bool:
    """True once the variance of the averaged squares is finite, that is, rho_t > 5."""
    step, beta2 = _radam_length(step, beta2)
    return bool(_radam_length_at(step, beta2) > 5.0)


def _radam_length_at(step, beta2):
    longest = 2.0 / (1.0 - beta2) - 1.0
    return longest - 2.0 * step * beta2**step / (1.0 - beta2**step)


def _radam_unrectified_coefficients(step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale):
    coupled, decay = _coupled_and_not(decoupled_weight_decay, lr, weight_decay)
    return grad_scale, coupled, decay, lr / (1.0 - beta1**step), beta1, 1.0 - beta1, beta2, 1.0 - beta2


def _radam_coefficients(step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale):
    grad_scale, coupled, decay, step_size, beta1, gain1, beta2, gain2 = _radam_unrectified_coefficients(
        step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale
    )
    longest, length = 2.0 / (1.0 - beta2) - 1.0, _radam_length_at(step, beta2)
    rectification = sqrt((length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length))
    step_size *= rectification * sqrt(1.0 - beta2**step)
    return grad_scale, coupled, decay, step_size, beta1, gain1, beta2, gain2, eps


def _radam_reference(
    param, grad, m, v, *, step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale
):
    """Rectified Adam (Liu et al. 2020, Algorithm 2), with PyTorch's eps added to the root of v without bias correction.

    The step is adaptive where rho > 5, as in PyTorch; the paper's threshold is 4.
    """
    if decoupled_weight_decay:
        decay_weights(param, lr, weight_decay)
        weight_decay = 0
    g = gradient(param, grad, grad_scale, weight_decay)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**step)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * step * beta2**step / (1 - beta2**step)
    if rho > 5:
        r = ((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) ** 0.5
        l_t = (1 - beta2**step) ** 0.5 / (np.sqrt(v) + eps)
        param -= lr * m_hat * r * l_t
    else:
        param -= lr * m_hat


RADAM = declare(
    "radam",
    {True: rules.radam, False: rules.radam_unrectified},
    {True: _radam_coefficients, False: _radam_unrectified_coefficients},
    _radam_reference,
    condition=radam_is_rectified,
    nonnegative=("v",),
    decoupled="decoupled_weight_decay",
)


def radam(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    step: SupportsIndex,
    lr: Real = 1e-3,
    beta1: Real = 0.9,
    beta2: Real = 0.999,
    eps: Real = 1e-8,
    decoupled_weight_decay: bool = False,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Rectified Adam: steps become adaptive once the variance of the adaptive rate is bounded.

        g = grad_scale * grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * step * beta2^step / (1 - beta2^step)
        m_hat = m / (1 - beta1^step)
        if rho > 5:
            r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            param -= lr * r * m_hat * sqrt(1 - beta2^step) / (sqrt(v) + eps)
        else:
            param -= lr * m_hat

    With ``decoupled_weight_decay``, g has no decay term and param is first multiplied by 1 - lr * weight_decay.

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m, v : array
        Updated; start from zeros.
    step : int >= 1
        Number of this step, counted from 1.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of m and v. For beta2 <= 2/3, rho never exceeds 5.
    eps : float >= 0
        Added to the square root without bias correction.
    decoupled_weight_decay : bool
        Whether the weight decay is decoupled.
    weight_decay, grad_scale : float
        Weight decay (>= 0), and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    As in PyTorch. The paper has no eps and rectifies where rho > 4; optax adds eps to the corrected root. Not in Keras.

    References
    ----------
    L. Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import radam
    >>> param, m, v = np.ones(2, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32)
    >>> radam(param, np.array([2.0, -1.0], np.float32), m, v, step=1, lr=0.25, beta1=0.5)
    >>> param
    array([0.5 , 1.25], dtype=float32)
    """
    hyperparameters = (step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale)
    run(RADAM, (param, grad, m, v), hyperparameters, backend, num_threads, stream)


# ---- AdaBelief


def _adabelief_coefficients(step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    return *_adamw_coefficients(step, lr, beta1, beta2, eps, weight_decay, grad_scale), eps


def _adabelief_reference(param, grad, m, s, *, step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    """AdaBelief (Zhuang et al. 2020, Algorithm 2), with decoupled weight decay."""
    g = gradient(param, grad, grad_scale, 0)
    m[...] = beta1 * m + (1 - beta1) * g
    s[...] = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
    m_hat = m / (1 - beta1**step)
    s_hat = s / (1 - beta2**step)
    decay_weights(param, lr, weight_decay)
    param -= lr * m_hat / (np.sqrt(s_hat) + eps)


ADABELIEF = declare(
    "adabelief", rules.adabelief, _adabelief_coefficients, _adabelief_reference, nonnegative=("s",), decoupled=True
)


def adabelief(
    param: Array,
    grad: Array,
    m: Array,
    s: Array,
    *,
    step: SupportsIndex,
    lr: Real = 1e-3,
    beta1: Real = 0.9,
    beta2: Real = 0.999,
    eps: Real = 1e-16,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """AdaBelief: Adam that divides by the deviation of the gradient from its average.

        g = grad_scale * grad
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m)^2 + eps
        m_hat = m / (1 - beta1^step)
        s_hat = s / (1 - beta2^step)
        param = (1 - lr * weight_decay) * param - lr * m_hat / (sqrt(s_hat) + eps)

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m, s : array
        Updated; start from zeros.
    step : int >= 1
        Number of this step, counted from 1.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rates of m and s.
    eps : float >= 0
        Added to s at every step, where it accumulates, and to the square root.
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
    Neither PyTorch nor Keras has AdaBelief. optax.adabelief is the same if its eps_root equals this eps. The authors'
    package rectifies the step as `radam` does by default.

    References
    ----------
    J. Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients", 2020, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import adabelief
    >>> param, m, s = np.ones(2, np.float32), np.zeros(2, np.float32), np.zeros(2, np.float32)
    >>> adabelief(param, np.array([4.0, -1.0], np.float32), m, s, step=1, lr=0.25, beta1=0.5, beta2=0.75)
    >>> param, s
    (array([0.5, 1.5], dtype=float32), array([1.    , 0.0625], dtype=float32))
    """
    hyperparameters = (step, lr, beta1, beta2, eps, weight_decay, grad_scale)
    run(ADABELIEF, (param, grad, m, s), hyperparameters, backend, num_threads, stream)


# ---- Yogi


def _yogi_coefficients(step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale):
    _, _, _, step_size, beta1, gain1, _, gain2, correction, eps = _adam_coefficients(
        step, lr, beta1, beta2, eps, bias_correction, 0.0, grad_scale
    )
    return grad_scale, 0.0, lr * weight_decay, step_size, beta1, gain1, gain2, correction, eps


def _yogi_reference(param, grad, m, v, *, step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale):
    """Yogi (Zaheer et al. 2018, Algorithm 2), with decoupled weight decay; the paper has no bias correction."""
    g = gradient(param, grad, grad_scale, 0)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = v - (1 - beta2) * np.sign(v - g**2) * g**2
    m_hat = m / (1 - beta1**step) if bias_correction else m
    v_hat = v / (1 - beta2**step) if bias_correction else v
    decay_weights(param, lr, weight_decay)
    param -= lr * m_hat / (np.sqrt(v_hat) + eps)


YOGI = declare(
    "yogi", rules.yogi, _yogi_coefficients, _yogi_reference, nonnegative=("v",), starts={"v": 1e-6}, decoupled=True
)


def yogi(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    step: SupportsIndex,
    lr: Real = 1e-2,
    beta1: Real = 0.9,
    beta2: Real = 0.999,
    eps: Real = 1e-3,
    bias_correction: bool = True,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Yogi: Adam whose averaged square changes by at most (1 - beta2) * g^2 in a step.

        g = grad_scale * grad
        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * sign(v - g^2) * g^2
        m_hat = m / (1 - beta1^step)
        v_hat = v / (1 - beta2^step)
        param = (1 - lr * weight_decay) * param - lr * m_hat / (sqrt(v_hat) + eps)

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m : array
        Updated; starts from zeros.
    v : array
        Updated; starts from 1e-6.
    step : int >= 1
        Number of this step, counted from 1.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        Exponential decay rate of m, and 1 minus the fraction of g^2 by which v changes.
    eps : float >= 0
        Added to the square root.
    bias_correction : bool
        Whether to divide m and v by their bias. If False, m_hat = m and v_hat = v.
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
    The paper has no bias correction (bias_correction=False). optax.yogi has it, but also starts m from 1e-6 and has no
    weight decay. Neither PyTorch nor Keras has Yogi.

    References
    ----------
    M. Zaheer et al., "Adaptive Methods for Nonconvex Optimization", 2018, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import yogi
    >>> param, m, v = np.ones(2, np.float32), np.zeros(2, np.float32), np.array([1, 64], np.float32)
    >>> yogi(param, np.array([4.0, -4.0], np.float32), m, v, step=1, lr=0.25, beta2=0.75, eps=0.0)
    >>> v
    array([ 5., 60.], dtype=float32)
    >>> param.round(4)
    array([0.7764, 1.0645], dtype=float32)
    """
    hyperparameters = (step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale)
    run(YOGI, (param, grad, m, v), hyperparameters, backend, num_threads, stream)


# ---- AdEMAMix


def _ademamix_coefficients(step, lr, beta1, beta2, beta3, alpha, warmup, eps, weight_decay, grad_scale):
    if warmup is not None:
        alpha, beta3 = _ademamix_warmup(step, warmup, beta1, beta3, alpha)
    return (
        grad_scale, 0.0, lr * weight_decay, lr / (1.0 - beta1**step), lr * alpha,
        beta1, 1.0 - beta1, beta2, 1.0 - beta2, beta3, 1.0 - beta3, 1.0 / sqrt(1.0 - beta2**step), eps,
    )  # fmt: skip


def _ademamix_warmup(step, warmup, beta1, beta3, alpha):
    """The paper's schedules: alpha grows linearly, and beta3 grows from beta1 so that its half-life grows linearly."""
    warmup = whole("warmup", warmup, "None or a number of steps, 1 or more")
    done = step / warmup
    if done >= 1.0:
        return alpha, beta3
    slow = log(beta3) if beta3 else -inf
    fast = log(beta1) if beta1 else -inf
    if fast == -inf:
        refuse("beta1", beta1, "more than 0 with a warmup, because beta3 starts from beta1")
    reached = exp(slow * fast / ((1.0 - done) * slow + done * fast)) if slow > -inf else 0.0
    return alpha * done, min(reached, beta3)


def _ademamix_reference(
    param, grad, m1, m2, v, *, step, lr, beta1, beta2, beta3, alpha, warmup, eps, weight_decay, grad_scale
):
    """AdEMAMix (Pagliardini et al. 2024, section 3); ``warmup`` is T of its schedulers, and beta3 starts from beta1."""
    g = gradient(param, grad, grad_scale, 0)
    if warmup is not None and step < warmup:
        t = step / warmup
        alpha = t * alpha
        beta3 = min(exp(log(beta1) * log(beta3) / ((1 - t) * log(beta3) + t * log(beta1))), beta3)
    m1[...] = beta1 * m1 + (1 - beta1) * g
    m2[...] = beta3 * m2 + (1 - beta3) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    m1_hat = m1 / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    decay_weights(param, lr, weight_decay)
    param -= lr * (m1_hat + alpha * m2) / (np.sqrt(v_hat) + eps)


ADEMAMIX = declare(
    "ademamix", rules.ademamix, _ademamix_coefficients, _ademamix_reference, nonnegative=("v",), decoupled=True
)


def ademamix(
    param: Array,
    grad: Array,
    m1: Array,
    m2: Array,
    v: Array,
    *,
    step: SupportsIndex,
    lr: Real = 1e-3,
    beta1: Real = 0.9,
    beta2: Real = 0.999,
    beta3: Real = 0.9999,
    alpha: Real = 5.0,
    warmup: SupportsIndex | None = None,
    eps: Real = 1e-8,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """AdEMAMix: Adam with a second, slower average of the gradient.

        g = grad_scale * grad
        m1 = beta1 * m1 + (1 - beta1) * g
        m2 = beta3 * m2 + (1 - beta3) * g
        v = beta2 * v + (1 - beta2) * g^2
        m1_hat = m1 / (1 - beta1^step)
        v_hat = v / (1 - beta2^step)
        param = (1 - lr * weight_decay) * param - lr * (m1_hat + alpha * m2) / (sqrt(v_hat) + eps)

    During a warmup, while f = step / warmup < 1, alpha and beta3 are replaced by
    f * alpha and exp(ln(beta1) * ln(beta3) / ((1 - f) * ln(beta3) + f * ln(beta1))), at most beta3.

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m1, m2, v : array
        Updated; start from zeros.
    step : int >= 1
        Number of this step, counted from 1.
    lr : float >= 0
        Learning rate.
    beta1, beta2, beta3 : float in [0, 1)
        Exponential decay rates of m1, v and m2.
    alpha : float >= 0
        The weight of m2.
    warmup : int >= 1 or None
        Number of steps over which alpha rises from 0 and beta3 rises from beta1.
    eps : float >= 0
        Added to the bias-corrected square root.
    weight_decay, grad_scale : float
        Decoupled weight decay (>= 0), and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step or warmup is below 1, a beta is outside [0, 1), or beta1 is 0 during a warmup.
    TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    Neither PyTorch nor Keras has AdEMAMix. optax.contrib.ademamix takes schedules for alpha and beta3 in place of a
    warmup. The paper gives alpha and beta3 separate warmup lengths.

    References
    ----------
    M. Pagliardini, P. Ablin and D. Grangier, "The AdEMAMix Optimizer: Better, Faster, Older", 2024, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import ademamix
    >>> param = np.ones(2, np.float32)
    >>> m1, m2, v = np.zeros((3, 2), np.float32)
    >>> ademamix(param, np.array([4.0, -1.0], np.float32), m1, m2, v, step=1, lr=0.25, beta3=0.75, alpha=4.0)
    >>> param, m2
    (array([0.5, 1.5], dtype=float32), array([ 1.  , -0.25], dtype=float32))
    """
    hyperparameters = (step, lr, beta1, beta2, beta3, alpha, warmup, eps, weight_decay, grad_scale)
    run(ADEMAMIX, (param, grad, m1, m2, v), hyperparameters, backend, num_threads, stream)


# ---- Adan


def _adan_coefficients(step, lr, beta1, beta2, beta3, eps, weight_decay, grad_scale):
    # The paper divides param - change by 1 + lr * weight_decay: param - (shrink * change + (1 - shrink) * param)
    shrink = 1.0 / (1.0 + lr * weight_decay)
    return (
        grad_scale, 0.0, lr * weight_decay * shrink,
        shrink * lr / (1.0 - beta1**step), shrink * lr * beta2 / (1.0 - beta2**step), 0.0 if step == 1 else 1.0,
        beta1, 1.0 - beta1, beta2, 1.0 - beta2, beta3, 1.0 - beta3, 1.0 / sqrt(1.0 - beta3**step), eps,
    )  # fmt: skip


def _adan_reference(param, grad, m, v, n, prev_grad, *, step, lr, beta1, beta2, beta3, eps, weight_decay, grad_scale):
    """Adan (Xie et al. 2022, Algorithm 1), with the bias correction and the betas of the authors' code.

    Their beta is the decay rate of an average, 1 minus the paper's. The weight decay is proximal: a division.
    """
    g = gradient(param, grad, grad_scale, 0)
    difference = g - prev_grad if step > 1 else np.zeros_like(g)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * difference
    n[...] = beta3 * n + (1 - beta3) * (g + beta2 * difference) ** 2
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    n_hat = n / (1 - beta3**step)
    eta = lr / (np.sqrt(n_hat) + eps)
    param[...] = (param - eta * (m_hat + beta2 * v_hat)) / (1 + lr * weight_decay)
    prev_grad[...] = g


ADAN = declare("adan", rules.adan, _adan_coefficients, _adan_reference, nonnegative=("n",), decoupled=True)


def adan(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    n: Array,
    prev_grad: Array,
    *,
    step: SupportsIndex,
    lr: Real = 1e-3,
    beta1: Real = 0.98,
    beta2: Real = 0.92,
    beta3: Real = 0.99,
    eps: Real = 1e-8,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Adan, adaptive Nesterov momentum: averages of the gradient, of its difference, and of the square of their sum.

        g = grad_scale * grad
        d = g - prev_grad                       (0 at the first step)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * d
        n = beta3 * n + (1 - beta3) * (g + beta2 * d)^2
        param = (param - lr * (m_hat + beta2 * v_hat) / (sqrt(n_hat) + eps)) / (1 + lr * weight_decay)
        prev_grad = g

    with m_hat = m / (1 - beta1^step), v_hat = v / (1 - beta2^step) and n_hat = n / (1 - beta3^step).

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m, v, n, prev_grad : array
        Updated; start from zeros.
    step : int >= 1
        Number of this step, counted from 1.
    lr : float >= 0
        Learning rate.
    beta1, beta2, beta3 : float in [0, 1)
        Exponential decay rates of m, v and n.
    eps : float >= 0
        Added to the bias-corrected square root.
    weight_decay, grad_scale : float
        Decoupled weight decay (>= 0), applied by division, and the factor that multiplies grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    The paper's betas are 1 minus these. The bias correction is that of the authors' code. optax.adan adds another 1e-8
    under the root and subtracts lr * weight_decay * param in place of the division. Neither PyTorch nor Keras has Adan.

    References
    ----------
    X. Xie et al., "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models", 2022, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import adan
    >>> param, grad = np.ones(2, np.float32), np.array([4.0, -1.0], np.float32)
    >>> m, v, n, prev_grad = np.zeros((4, 2), np.float32)
    >>> adan(param, grad, m, v, n, prev_grad, step=1, lr=0.25, beta1=0.5, beta2=0.5, beta3=0.75)
    >>> param, prev_grad
    (array([0.75, 1.25], dtype=float32), array([ 4., -1.], dtype=float32))
    """
    hyperparameters = (step, lr, beta1, beta2, beta3, eps, weight_decay, grad_scale)
    run(ADAN, (param, grad, m, v, n, prev_grad), hyperparameters, backend, num_threads, stream)
