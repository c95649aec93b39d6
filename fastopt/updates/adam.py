"""Adam and its relatives: averages of the gradient and of its square."""

from __future__ import annotations

from typing import SupportsIndex

from fastopt.coefficients import update as coefficients
from fastopt.common.types import Array, Backend, Real, Stream
from fastopt.engine.update.run import run
from fastopt.engine.update.update import Update
from fastopt.reference import update as reference
from fastopt.rules import update as rules

ADAM = Update(rules.adam, coefficients.adam, reference.adam)
AMSGRAD = Update(rules.amsgrad, coefficients.adam, reference.adam)


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
        This step's number.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        What m and v keep of themselves; with beta1 = 0 this is RMSProp.
    eps : float >= 0
        Added to the corrected root.
    bias_correction : bool
        False: m and v stand for m_hat and v_hat.
    weight_decay, grad_scale : float
        Coupled decay (>= 0), which enters m and v (`adamw` has the decoupled one), and factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step is below 1, a beta outside [0, 1), or lr, eps or weight_decay negative.
    TypeError, BackendUnavailable
        As every update: see `fastopt.updates`.

    Notes
    -----
    As PyTorch. Keras adds its eps, 1e-7, to the uncorrected root (the paper's "epsilon hat"), where it counts as
    eps / sqrt(1 - beta2^step) does here. AMSGrad corrects the largest v, as in PyTorch and Keras; optax.amsgrad keeps
    the largest corrected v; the paper corrects nothing (bias_correction=False).

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
    if v_max is None:
        run(ADAM, (param, grad, m, v), hyperparameters, backend, num_threads, stream)
    else:
        run(AMSGRAD, (param, grad, m, v, v_max), hyperparameters, backend, num_threads, stream)


ADAMW = Update(rules.adam, coefficients.adamw, reference.adamw)
AMSGRADW = Update(rules.amsgrad, coefficients.adamw, reference.adamw)


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
        This step's number.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        What m and v keep of themselves.
    eps : float >= 0
        Added to the corrected root.
    weight_decay, grad_scale : float
        Decoupled decay (>= 0) and factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If a beta is outside [0, 1), step below 1, or lr, eps or weight_decay negative.
    TypeError, BackendUnavailable
        As every update: see `fastopt.updates`.

    Notes
    -----
    As PyTorch, down to the factor lr on the decay, where the paper has a schedule's factor alone. Unless given, the
    decay is 4e-3 in Keras and 1e-4 in optax. Keras' eps and optax's AMSGrad differ as in `adam`.

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
    if v_max is None:
        run(ADAMW, (param, grad, m, v), hyperparameters, backend, num_threads, stream)
    else:
        run(AMSGRADW, (param, grad, m, v, v_max), hyperparameters, backend, num_threads, stream)


ADAMAX = Update(rules.adamax, coefficients.adamax, reference.adamax)


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
    """Adam by the largest recent gradient in place of the averaged square.

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
        This step's number.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        What m and u keep of themselves.
    eps : float >= 0
        Keeps u above 0.
    weight_decay, grad_scale : float
        Coupled decay (>= 0), which enters m and u, and factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If lr, eps or weight_decay is negative, step below 1, or a beta outside [0, 1).
    TypeError, BackendUnavailable
        As every update: see `fastopt.updates`.

    Notes
    -----
    As PyTorch; optax has the same formula. The paper has no eps. Keras has lr=1e-3, and adds eps=1e-7 to u in the
    division only.

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


NADAM = Update(rules.nadam, coefficients.nadam, reference.nadam)


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
    """Adam with Nesterov's momentum.

        mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        g = grad_scale * grad + weight_decay * param
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        m_hat = mu(step + 1) * m / (1 - mu_product * mu(step + 1)) + (1 - mu(step)) * g / (1 - mu_product)
        param -= lr * m_hat / (sqrt(v / (1 - beta2^step)) + eps)

    With ``decoupled_weight_decay``, g is without decay and param is first multiplied by 1 - lr * weight_decay.

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m, v : array
        Updated; start from zeros.
    step : int >= 1
        This step's number.
    mu_product : float in [0, 1)
        mu(1) * ... * mu(step), this step's included: the caller's to keep, by `nadam_mu`.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        What m and v keep of themselves; beta1 is also what mu rises to.
    eps : float >= 0
        Added to the corrected root.
    momentum_decay : float >= 0
        How soon mu rises from beta1 / 2 to beta1.
    decoupled_weight_decay : bool
        Whether the decay is decoupled.
    weight_decay, grad_scale : float
        Decay (>= 0) and factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step is below 1, mu_product over mu(step), or a beta outside [0, 1).
    TypeError, BackendUnavailable
        As every update: see `fastopt.updates`.

    Notes
    -----
    As PyTorch, which keeps mu_product itself, in float32. Keras has momentum_decay=1, lr=1e-3 and eps=1e-7; optax.nadam
    has beta1 in place of mu. In the paper m, too, decays by mu.

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


RADAM = Update(rules.radam, coefficients.radam, reference.radam)
RADAM_UNRECTIFIED = Update(rules.radam_unrectified, coefficients.radam_unrectified, reference.radam)


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
    """Adam that waits until the variance of its steps is bounded.

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

    With ``decoupled_weight_decay``, g is without decay and param is first multiplied by 1 - lr * weight_decay.

    Parameters
    ----------
    param, grad : array of float16, bfloat16, float32 or float64
        param is updated, grad is read; any shape, which all arrays share.
    m, v : array
        Updated; start from zeros.
    step : int >= 1
        This step's number.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        What m and v keep of themselves; up to beta2 = 2/3 rho never exceeds 5.
    eps : float >= 0
        Added to the uncorrected root.
    decoupled_weight_decay : bool
        Whether the decay is decoupled.
    weight_decay, grad_scale : float
        Decay (>= 0) and factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step is below 1, lr, eps or weight_decay negative, or a beta outside [0, 1).
    TypeError, BackendUnavailable
        As every update: see `fastopt.updates`.

    Notes
    -----
    As PyTorch. The paper has no eps and rectifies where rho > 4; optax adds eps to the corrected root. Not in Keras.

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
    update = RADAM if coefficients.radam_is_rectified(step, beta2) else RADAM_UNRECTIFIED
    hyperparameters = (step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale)
    run(update, (param, grad, m, v), hyperparameters, backend, num_threads, stream)


ADABELIEF = Update(rules.adabelief, coefficients.adabelief, reference.adabelief)


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
    """Adam by how far the gradient is from its average.

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
        This step's number.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        What m and s keep of themselves.
    eps : float >= 0
        Added to s, where it gathers over the steps, and to the root.
    weight_decay, grad_scale : float
        Decoupled decay (>= 0) and factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step is below 1, a beta outside [0, 1), or a value that can't be negative is.
    TypeError, BackendUnavailable
        As every update: see `fastopt.updates`.

    Notes
    -----
    Not in PyTorch or Keras; optax.adabelief is the same with its eps_root at this eps. The authors' package rectifies
    the step as `radam` does unless told not to.

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


YOGI = Update(rules.yogi, coefficients.yogi, reference.yogi)


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
    """Adam whose averaged square changes by no more than the square itself.

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
        This step's number.
    lr : float >= 0
        Learning rate.
    beta1, beta2 : float in [0, 1)
        What m keeps of itself, and 1 - the share of g^2 by which v changes.
    eps : float >= 0
        Added to the root.
    bias_correction : bool
        False: m and v stand for m_hat and v_hat.
    weight_decay, grad_scale : float
        Decoupled decay (>= 0) and factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step is below 1, a beta outside [0, 1), or lr, eps or weight_decay negative.
    TypeError, BackendUnavailable
        As every update: see `fastopt.updates`.

    Notes
    -----
    The paper has no bias correction (bias_correction=False); optax.yogi has, starts m from 1e-6 too, and has no weight
    decay. Not in PyTorch or Keras.

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


ADEMAMIX = Update(rules.ademamix, coefficients.ademamix, reference.ademamix)


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
    """Adam with a second, much slower average of the gradient.

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
        This step's number.
    lr : float >= 0
        Learning rate.
    beta1, beta2, beta3 : float in [0, 1)
        What m1, v and m2 keep of themselves.
    alpha : float >= 0
        The weight of m2.
    warmup : int >= 1 or None
        The steps over which alpha rises from 0, and beta3 from beta1.
    eps : float >= 0
        Added to the corrected root.
    weight_decay, grad_scale : float
        Decoupled decay (>= 0) and factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step or warmup is below 1, a beta outside [0, 1), or beta1 is 0 during a warmup.
    TypeError, BackendUnavailable
        As every update: see `fastopt.updates`.

    Notes
    -----
    Not in PyTorch or Keras. optax.contrib.ademamix takes schedules for alpha and beta3 in place of a warmup; the paper
    gives each its own length of warmup.

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


ADAN = Update(rules.adan, coefficients.adan, reference.adan)


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
    """Adaptive Nesterov momentum: averages of the gradient, of its change, and of the square of both.

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
        This step's number.
    lr : float >= 0
        Learning rate.
    beta1, beta2, beta3 : float in [0, 1)
        What m, v and n keep of themselves.
    eps : float >= 0
        Added to the corrected root.
    weight_decay, grad_scale : float
        Decoupled decay (>= 0), by division, and factor on grad.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError
        If step is below 1, a beta outside [0, 1), or lr, eps or weight_decay negative or not finite.
    TypeError, BackendUnavailable
        As every update: see `fastopt.updates`.

    Notes
    -----
    The paper's betas are 1 minus these; the bias correction is that of the authors' code. optax.adan adds another 1e-8
    under the root and subtracts lr * weight_decay * param rather than divide. Not in PyTorch or Keras.

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
