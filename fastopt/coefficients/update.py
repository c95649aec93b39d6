"""From hyperparameters to coefficients: every convention of an update, computed in float64 once a step.

Each function checks its hyperparameters and returns the scalars of a kernel: ``grad_scale``, the coupled
``weight_decay``, the decoupled ``decay`` (lr * weight_decay, as a rule), and then the rule's others, in the order of
its signature in ``fastopt/rules/update.py``. ``step`` counts from 1.

Numba compiles these functions too, for `fastopt.numba`: so they unpack no stars, and format no messages.
"""

from __future__ import annotations

from math import exp, inf, log, log1p, sqrt
from typing import SupportsIndex

from fastopt.coefficients.ranges import ANY
from fastopt.common.messages import brief
from fastopt.common.types import Real
from fastopt.engine.core.hyperparameters import Hyperparameters, whole

#: What eps = 0 becomes where it is added to something other than a root: 0 / 0 is then 0. An `eps` that is added to a
#: root needs nothing here: the engine sees to it.
TINY = 2.2250738585072014e-308


def refuse(name, value, expected, bound=None):
    """Raise what names a hyperparameter; ``bound`` is the value of what is expected, where that has a name only."""
    raise ValueError(f"{name} is {brief(value)}; expected {expected}{'' if bound is None else f', which is {bound}'}")


_sgd = Hyperparameters("lr", "weight_decay", "grad_scale")


def sgd(lr, weight_decay, grad_scale):
    lr, weight_decay, grad_scale = _sgd(lr, weight_decay, grad_scale)
    return grad_scale, weight_decay, 0.0, lr


_momentum = Hyperparameters("lr", "momentum", "dampening", "nesterov", "weight_decay", "grad_scale")


def momentum(lr, momentum, dampening, nesterov, form, weight_decay, grad_scale):
    lr, momentum, dampening, nesterov, weight_decay, grad_scale = _momentum(
        lr, momentum, dampening, nesterov, weight_decay, grad_scale
    )
    if dampening and (nesterov or form != "sum"):
        refuse("dampening", dampening, "0 unless form is 'sum' and nesterov is off")
    if form == "sum":
        return grad_scale, weight_decay, 0.0, lr, momentum, 1.0 - dampening
    if form == "average":
        return grad_scale, weight_decay, 0.0, lr, momentum, 1.0 - momentum
    if form != "step":
        refuse("form", form, "'sum', 'average' or 'step'")
    return grad_scale, weight_decay, 0.0, 1.0, momentum, lr


_asgd = Hyperparameters("step", "lr", "lambd", "alpha", "t0", "weight_decay", "grad_scale")


def asgd(step, lr, lambd, alpha, t0, weight_decay, grad_scale):
    step, lr, lambd, alpha, t0, weight_decay, grad_scale = _asgd(step, lr, lambd, alpha, t0, weight_decay, grad_scale)
    eta = lr * exp(-alpha * log1p(lambd * lr * (step - 1)))
    mu = 1.0 / max(1.0, step - 1 - t0)
    return grad_scale, weight_decay, lambd * eta, eta, 0.0 if mu == 1.0 else 1.0, mu


_average = Hyperparameters("decay")


def average(decay):
    (decay,) = _average(decay)
    return 1.0, 0.0, 0.0, decay, 1.0 - decay


_accumulate = Hyperparameters("alpha", "beta", ranges={"alpha": ANY, "beta": ANY})


def accumulate(alpha, beta):
    alpha, beta = _accumulate(alpha, beta)
    return alpha, 0.0, 0.0, beta


def accumulate_anew(alpha, beta):
    return accumulate(alpha, beta)[:3]


def goes_on(beta: Real) -> bool:
    """True if a sum goes on from what there is, False if it starts anew."""
    return bool(_accumulate(1.0, beta)[1] != 0.0)


_signum = Hyperparameters("lr", "beta", "weight_decay", "grad_scale")


def signum(lr, beta, weight_decay, grad_scale):
    lr, beta, weight_decay, grad_scale = _signum(lr, beta, weight_decay, grad_scale)
    return grad_scale, 0.0, lr * weight_decay, lr, beta, 1.0 - beta


_lion = Hyperparameters("lr", "beta1", "beta2", "weight_decay", "grad_scale")


def lion(lr, beta1, beta2, weight_decay, grad_scale):
    lr, beta1, beta2, weight_decay, grad_scale = _lion(lr, beta1, beta2, weight_decay, grad_scale)
    return grad_scale, 0.0, lr * weight_decay, lr, beta1, 1.0 - beta1, beta2, 1.0 - beta2


_rprop = Hyperparameters("eta_minus", "eta_plus", "step_min", "step_max", "weight_decay", "grad_scale")


def rprop(eta_minus, eta_plus, step_min, step_max, weight_decay, grad_scale):
    eta_minus, eta_plus, step_min, step_max, weight_decay, grad_scale = _rprop(
        eta_minus, eta_plus, step_min, step_max, weight_decay, grad_scale
    )
    if step_min > step_max:
        refuse("step_min", step_min, "at most step_max", step_max)
    return grad_scale, weight_decay, 0.0, eta_plus, eta_minus, step_min, step_max, 0.0, 1.0


_adagrad = Hyperparameters("step", "lr", "lr_decay", "eps", "weight_decay", "grad_scale")


def adagrad(step, lr, lr_decay, eps, weight_decay, grad_scale):
    step, lr, lr_decay, eps, weight_decay, grad_scale = _adagrad(step, lr, lr_decay, eps, weight_decay, grad_scale)
    return grad_scale, weight_decay, 0.0, lr / (1.0 + (step - 1) * lr_decay), eps


_rmsprop = Hyperparameters("lr", "decay", "eps", "eps_inside_sqrt", "momentum", "weight_decay", "grad_scale")


def rmsprop(lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale):
    scalars = rmsprop_momentum(lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale)
    if scalars[-1]:
        refuse("momentum", scalars[-1], "0, since velocity is None")
    return scalars[:-1]


def rmsprop_momentum(lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale):
    lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale = _rmsprop(
        lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale
    )
    inside, outside = (eps, 0.0) if eps_inside_sqrt and eps else (0.0, eps)
    return grad_scale, weight_decay, 0.0, lr, decay, 1.0 - decay, inside, outside, momentum


_adadelta = Hyperparameters("lr", "decay", "eps", "weight_decay", "grad_scale")


def adadelta(lr, decay, eps, weight_decay, grad_scale):
    lr, decay, eps, weight_decay, grad_scale = _adadelta(lr, decay, eps, weight_decay, grad_scale)
    return grad_scale, weight_decay, 0.0, lr, decay, 1.0 - decay, eps or TINY


# ---- Adam and its relatives: step_size = lr / (1 - beta1^t) and correction = 1 / sqrt(1 - beta2^t), so that the
# ---- kernel has one division an element (with two it is bound by arithmetic as long as the arrays are in cache).

_adam = Hyperparameters("step", "lr", "beta1", "beta2", "eps", "bias_correction", "weight_decay", "grad_scale")


def adam(step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale):
    step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale = _adam(
        step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale
    )
    if bias_correction:
        step_size, correction = lr / (1.0 - beta1**step), 1.0 / sqrt(1.0 - beta2**step)
    else:
        step_size, correction = lr, 1.0
    return (
        grad_scale, weight_decay, 0.0, step_size,
        beta1, 1.0 - beta1, beta2, 1.0 - beta2, correction, eps,
    )  # fmt: skip


def adamw(step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    scalars = adam(step, lr, beta1, beta2, eps, True, weight_decay, grad_scale)
    return (scalars[0], 0.0, float(lr) * scalars[1]) + scalars[3:]  # noqa: RUF005 (unpacked: 0.2 us more)


_adamax = Hyperparameters("step", "lr", "beta1", "beta2", "eps", "weight_decay", "grad_scale")


def adamax(step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    step, lr, beta1, beta2, eps, weight_decay, grad_scale = _adamax(
        step, lr, beta1, beta2, eps, weight_decay, grad_scale
    )
    return grad_scale, weight_decay, 0.0, lr / (1.0 - beta1**step), beta1, 1.0 - beta1, beta2, eps or TINY


_nadam_mu = Hyperparameters("step", "beta1", "momentum_decay")


def nadam_mu(step: int, beta1: float = 0.9, momentum_decay: float = 4e-3) -> float:
    """Return mu of one step of `nadam`, the factor by which a caller keeps ``mu_product``.

    mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2)

    Parameters
    ----------
    step : int
        The step t, 1 at the first update.
    beta1, momentum_decay : float
        As given to `nadam`: 0 <= beta1 < 1, momentum_decay >= 0.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number in its range.

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
    mu: float = beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))
    return mu


_nadam = Hyperparameters(
    "step", "mu_product", "lr", "beta1", "beta2", "eps", "momentum_decay", "decoupled_weight_decay", "weight_decay",
    "grad_scale",
)  # fmt: skip


def nadam(step, mu_product, lr, beta1, beta2, eps, momentum_decay, decoupled_weight_decay, weight_decay, grad_scale):
    step, mu_product, lr, beta1, beta2, eps, momentum_decay, decoupled_weight_decay, weight_decay, grad_scale = _nadam(
        step, mu_product, lr, beta1, beta2, eps, momentum_decay, decoupled_weight_decay, weight_decay, grad_scale
    )
    mu, next_mu = nadam_mu(step, beta1, momentum_decay), nadam_mu(step + 1, beta1, momentum_decay)
    if mu_product > mu * (1.0 + 1e-6):
        product = "the product of nadam_mu(1) to nadam_mu(step), at most the last of them"
        refuse("mu_product", mu_product, product, mu)
    coupled, decay = _coupled_and_not(decoupled_weight_decay, lr, weight_decay)
    return (
        grad_scale, coupled, decay,
        lr * (1.0 - mu) / (1.0 - mu_product), lr * next_mu / (1.0 - mu_product * next_mu),
        beta1, 1.0 - beta1, beta2, 1.0 - beta2, 1.0 / sqrt(1.0 - beta2**step), eps,
    )  # fmt: skip


def _coupled_and_not(decoupled, lr, weight_decay):
    """The scalars weight_decay and decay: the one, or the other."""
    return (0.0, lr * weight_decay) if decoupled else (weight_decay, 0.0)


_radam_length = Hyperparameters("step", "beta2")


def radam_is_rectified(step: SupportsIndex, beta2: Real) -> bool:
    """True once the average of squares is long enough for its variance to be finite: rho_t > 5."""
    step, beta2 = _radam_length(step, beta2)
    return bool(_radam_length_at(step, beta2) > 5.0)


def _radam_length_at(step, beta2):
    longest = 2.0 / (1.0 - beta2) - 1.0
    return longest - 2.0 * step * beta2**step / (1.0 - beta2**step)


_radam = Hyperparameters("step", "lr", "beta1", "beta2", "eps", "decoupled_weight_decay", "weight_decay", "grad_scale")


def radam_unrectified(step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale):
    step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale = _radam(
        step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale
    )
    coupled, decay = _coupled_and_not(decoupled_weight_decay, lr, weight_decay)
    return grad_scale, coupled, decay, lr / (1.0 - beta1**step), beta1, 1.0 - beta1, beta2, 1.0 - beta2


def radam(step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale):
    grad_scale, coupled, decay, step_size, beta1, gain1, beta2, gain2 = radam_unrectified(
        step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale
    )
    longest, length = 2.0 / (1.0 - beta2) - 1.0, _radam_length_at(step, beta2)
    rectification = sqrt((length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length))
    step_size *= rectification * sqrt(1.0 - beta2**step)
    return grad_scale, coupled, decay, step_size, beta1, gain1, beta2, gain2, float(eps)


def adabelief(step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    scalars = adamw(step, lr, beta1, beta2, eps, weight_decay, grad_scale)
    return *scalars, float(eps)


def yogi(step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale):
    grad_scale, weight_decay, _, step_size, beta1, gain1, _, gain2, correction, eps = adam(
        step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale
    )
    return grad_scale, 0.0, float(lr) * weight_decay, step_size, beta1, gain1, gain2, correction, eps


_ademamix = Hyperparameters("step", "lr", "beta1", "beta2", "beta3", "alpha", "eps", "weight_decay", "grad_scale")


def ademamix(step, lr, beta1, beta2, beta3, alpha, warmup, eps, weight_decay, grad_scale):
    step, lr, beta1, beta2, beta3, alpha, eps, weight_decay, grad_scale = _ademamix(
        step, lr, beta1, beta2, beta3, alpha, eps, weight_decay, grad_scale
    )
    if warmup is not None:
        alpha, beta3 = _ademamix_warmup(step, warmup, beta1, beta3, alpha)
    return (
        grad_scale, 0.0, lr * weight_decay, lr / (1.0 - beta1**step), lr * alpha,
        beta1, 1.0 - beta1, beta2, 1.0 - beta2, beta3, 1.0 - beta3, 1.0 / sqrt(1.0 - beta2**step), eps,
    )  # fmt: skip


def _ademamix_warmup(step, warmup, beta1, beta3, alpha):
    """The paper's schedules: alpha grows linearly, and beta3 from beta1 so that its half-life does."""
    warmup = whole("warmup", warmup, "None or a number of steps, 1 or more")
    done = step / warmup
    if done >= 1.0:
        return alpha, beta3
    slow = log(beta3) if beta3 else -inf
    fast = log(beta1) if beta1 else -inf
    if fast == -inf:
        refuse("beta1", beta1, "more than 0 with a warmup, which starts beta3 there")
    reached = exp(slow * fast / ((1.0 - done) * slow + done * fast)) if slow > -inf else 0.0
    return alpha * done, min(reached, beta3)


_adan = Hyperparameters("step", "lr", "beta1", "beta2", "beta3", "eps", "weight_decay", "grad_scale")


def adan(step, lr, beta1, beta2, beta3, eps, weight_decay, grad_scale):
    step, lr, beta1, beta2, beta3, eps, weight_decay, grad_scale = _adan(
        step, lr, beta1, beta2, beta3, eps, weight_decay, grad_scale
    )
    # The paper divides param - change by 1 + lr * weight_decay: that is param - (kept * change + (1 - kept) * param).
    kept = 1.0 / (1.0 + lr * weight_decay)
    return (
        grad_scale, 0.0, lr * weight_decay * kept,
        kept * lr / (1.0 - beta1**step), kept * lr * beta2 / (1.0 - beta2**step), 0.0 if step == 1 else 1.0,
        beta1, 1.0 - beta1, beta2, 1.0 - beta2, beta3, 1.0 - beta3, 1.0 / sqrt(1.0 - beta3**step), eps,
    )  # fmt: skip


# ---- Layer-wise rules: a factor for each tensor, from norms of the whole of it


def lamb_trust(param_norm: float, direction_norm: float) -> float:
    return param_norm / direction_norm if param_norm > 0.0 and direction_norm > 0.0 else 1.0


def lars_trust(trust_coefficient: float, weight_decay: float, eps: float, param_norm: float, grad_norm: float) -> float:
    if not (param_norm > 0.0 and grad_norm > 0.0):
        return 1.0
    return trust_coefficient * param_norm / (grad_norm + weight_decay * param_norm + eps)
