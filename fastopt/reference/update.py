"""The plain NumPy formula of every update, as its paper writes it: what the fast kernels are judged against.

Given float64 arrays these functions are the oracle of the tests; given float32 arrays they are what a NumPy user would
write, and so the benchmarks' naive implementation. They compute in the arrays' own type, know nothing of the rules, and
take every hyperparameter by name, without defaults: those belong to the public functions. Arrays are updated in place.
"""

from __future__ import annotations

from math import exp, log

import numpy as np


def _gradient(param, grad, grad_scale, weight_decay):
    """Return g = grad_scale * grad + weight_decay * param, without terms that change nothing: 0 * inf is NaN."""
    g = grad if grad_scale == 1 else grad_scale * grad
    return g if weight_decay == 0 else g + weight_decay * param


def _decay(param, lr, weight_decay):
    """Decay the weights apart from the gradient (Loshchilov & Hutter 2019, Algorithm 2, line 12)."""
    if weight_decay != 0:
        param *= 1 - lr * weight_decay


# Descent along the gradient.


def sgd(param, grad, *, lr, weight_decay, grad_scale):
    """Stochastic gradient descent (Robbins & Monro 1951): p -= lr * g."""
    g = _gradient(param, grad, grad_scale, weight_decay)
    param -= lr * g


def momentum(param, grad, velocity, *, lr, momentum, dampening, nesterov, form, weight_decay, grad_scale):
    """Momentum (Polyak 1964), with Nesterov's look-ahead as in Sutskever et al. 2013, section 2.

    ``form="sum"`` is PyTorch's, ``"average"`` weights the newest gradient by 1 - momentum, and ``"step"`` has the
    learning rate inside the velocity, as Sutskever's equation 1. The look-ahead is one more turn of the same recursion.
    """
    g = _gradient(param, grad, grad_scale, weight_decay)
    if form == "sum":
        velocity[...] = momentum * velocity + (1 - dampening) * g
        param -= lr * (g + momentum * velocity) if nesterov else lr * velocity
    elif form == "average":
        velocity[...] = momentum * velocity + (1 - momentum) * g
        param -= lr * ((1 - momentum) * g + momentum * velocity) if nesterov else lr * velocity
    elif form == "step":
        velocity[...] = momentum * velocity + lr * g
        param -= lr * g + momentum * velocity if nesterov else velocity


def asgd(param, grad, average, *, step, lr, lambd, alpha, t0, weight_decay, grad_scale):
    """Averaged gradient descent (Polyak & Juditsky 1992), with PyTorch's schedules of rate and averaging."""
    g = _gradient(param, grad, grad_scale, weight_decay)
    eta = lr / (1 + lambd * lr * (step - 1)) ** alpha
    mu = 1 / max(1, step - 1 - t0)
    param[...] = (1 - lambd * eta) * param - eta * g
    average[...] = average + mu * (param - average) if mu < 1 else param


# The sum of several backward passes.


def accumulate(acc, grad, *, alpha, beta):
    """The operation axpby of Blackford et al. 2002: acc = beta acc + alpha grad, where 0 acc is nothing."""
    acc[...] = alpha * grad + beta * acc if beta != 0 else alpha * grad


# Descent by signs.


def signum(param, grad, m, *, lr, beta, weight_decay, grad_scale):
    """Signum (Bernstein et al. 2018, Algorithm 2)."""
    g = _gradient(param, grad, grad_scale, 0)
    m[...] = beta * m + (1 - beta) * g
    _decay(param, lr, weight_decay)
    param -= lr * np.sign(m)


def lion(param, grad, m, *, lr, beta1, beta2, weight_decay, grad_scale):
    """Lion (Chen et al. 2023, Algorithm 2)."""
    g = _gradient(param, grad, grad_scale, 0)
    c = beta1 * m + (1 - beta1) * g
    _decay(param, lr, weight_decay)
    param -= lr * np.sign(c)
    m[...] = beta2 * m + (1 - beta2) * g


def rprop(param, grad, prev_grad, step_size, *, eta_minus, eta_plus, step_min, step_max, weight_decay, grad_scale):
    """Resilient backpropagation (Riedmiller & Braun 1993), in the form without backtracking (Igel & Huesken 2000)."""
    g = _gradient(param, grad, grad_scale, weight_decay)
    # The product of signs, where the papers have the product of gradients, which can underflow to "no agreement".
    agreement = np.sign(g) * np.sign(prev_grad)
    step_size[agreement > 0] *= eta_plus
    step_size[agreement < 0] *= eta_minus
    step_size[...] = np.clip(step_size, step_min, step_max)
    g = np.where(agreement < 0, 0, g)  # no step after a change of sign, and none remembered
    param -= np.sign(g) * step_size
    prev_grad[...] = g


# Steps scaled by squared gradients.


def adagrad(param, grad, square_sum, *, step, lr, lr_decay, eps, weight_decay, grad_scale):
    """Adagrad (Duchi et al. 2011, diagonal form), with PyTorch's decay of the learning rate."""
    g = _gradient(param, grad, grad_scale, weight_decay)
    lr_t = lr / (1 + (step - 1) * lr_decay)
    square_sum += g**2
    param -= lr_t * g / (np.sqrt(square_sum) + eps)


def rmsprop(
    param, grad, square_avg, grad_avg=None, velocity=None, *,
    lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale,
):  # fmt: skip
    """RMSProp (Tieleman & Hinton 2012, lecture 6.5); centered, and with momentum, as Graves 2013, equations 38 to 41.

    As in PyTorch the momentum gathers steps before the learning rate, so that a change of rate acts at once.
    """
    g = _gradient(param, grad, grad_scale, weight_decay)
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


def adadelta(param, grad, square_avg, delta_avg, *, lr, decay, eps, weight_decay, grad_scale):
    """Adadelta (Zeiler 2012, Algorithm 1), times a learning rate that the paper does not have."""
    g = _gradient(param, grad, grad_scale, weight_decay)
    square_avg[...] = decay * square_avg + (1 - decay) * g**2
    delta = np.sqrt(delta_avg + eps) / np.sqrt(square_avg + eps) * g
    delta_avg[...] = decay * delta_avg + (1 - decay) * delta**2
    param -= lr * delta


# Adam and its relatives.


def adam(param, grad, m, v, v_max=None, *, step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale):
    """Adam (Kingma & Ba 2015, Algorithm 1); with ``v_max``, AMSGrad (Reddi et al. 2018, Algorithm 2).

    AMSGrad corrects the bias of the maximum, as PyTorch does; the paper leaves out the correction.
    """
    g = _gradient(param, grad, grad_scale, weight_decay)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    if v_max is not None:
        v_max[...] = np.maximum(v_max, v)
        v = v_max
    m_hat = m / (1 - beta1**step) if bias_correction else m
    v_hat = v / (1 - beta2**step) if bias_correction else v
    param -= lr * m_hat / (np.sqrt(v_hat) + eps)


def adamw(param, grad, m, v, v_max=None, *, step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2), lr times the decay as in PyTorch."""
    _decay(param, lr, weight_decay)
    rest = {"bias_correction": True, "weight_decay": 0, "grad_scale": grad_scale}
    adam(param, grad, m, v, v_max, step=step, lr=lr, beta1=beta1, beta2=beta2, eps=eps, **rest)


def adamax(param, grad, m, u, *, step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    """AdaMax (Kingma & Ba 2015, Algorithm 2), with PyTorch's eps, which keeps u above zero."""
    g = _gradient(param, grad, grad_scale, weight_decay)
    m[...] = beta1 * m + (1 - beta1) * g
    u[...] = np.maximum(beta2 * u, np.abs(g) + eps)
    m_hat = m / (1 - beta1**step)
    param -= lr * m_hat / u


def nadam(
    param, grad, m, v, *,
    step, mu_product, lr, beta1, beta2, eps, momentum_decay, decoupled_weight_decay, weight_decay, grad_scale,
):  # fmt: skip
    """Nadam (Dozat 2016, Algorithm 2), as PyTorch: m decays by beta1, only the look-ahead by the warmed-up mu.

    ``mu_product`` is the product of mu from the first step to this one.
    """
    if decoupled_weight_decay:
        _decay(param, lr, weight_decay)
        weight_decay = 0
    g = _gradient(param, grad, grad_scale, weight_decay)
    mu = beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    m_hat = mu_next * m / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)
    v_hat = v / (1 - beta2**step)
    param -= lr * m_hat / (np.sqrt(v_hat) + eps)


def radam(param, grad, m, v, *, step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale):
    """Rectified Adam (Liu et al. 2020, Algorithm 2), with PyTorch's eps beside the root of the uncorrected v.

    The variance of the adaptive step is taken to be tractable where rho is over 5; the paper says 4.
    """
    if decoupled_weight_decay:
        _decay(param, lr, weight_decay)
        weight_decay = 0
    g = _gradient(param, grad, grad_scale, weight_decay)
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


def adabelief(param, grad, m, s, *, step, lr, beta1, beta2, eps, weight_decay, grad_scale):
    """AdaBelief (Zhuang et al. 2020, Algorithm 2), with decoupled weight decay."""
    g = _gradient(param, grad, grad_scale, 0)
    m[...] = beta1 * m + (1 - beta1) * g
    s[...] = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
    m_hat = m / (1 - beta1**step)
    s_hat = s / (1 - beta2**step)
    _decay(param, lr, weight_decay)
    param -= lr * m_hat / (np.sqrt(s_hat) + eps)


def yogi(param, grad, m, v, *, step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale):
    """Yogi (Zaheer et al. 2018, Algorithm 2), with decoupled weight decay; the paper has no bias correction."""
    g = _gradient(param, grad, grad_scale, 0)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = v - (1 - beta2) * np.sign(v - g**2) * g**2
    m_hat = m / (1 - beta1**step) if bias_correction else m
    v_hat = v / (1 - beta2**step) if bias_correction else v
    _decay(param, lr, weight_decay)
    param -= lr * m_hat / (np.sqrt(v_hat) + eps)


def ademamix(param, grad, m1, m2, v, *, step, lr, beta1, beta2, beta3, alpha, warmup, eps, weight_decay, grad_scale):
    """AdEMAMix (Pagliardini et al. 2024, section 3); ``warmup`` is T of its schedulers, beta3 starting from beta1."""
    g = _gradient(param, grad, grad_scale, 0)
    if warmup is not None and step < warmup:
        t = step / warmup
        alpha = t * alpha
        beta3 = min(exp(log(beta1) * log(beta3) / ((1 - t) * log(beta3) + t * log(beta1))), beta3)
    m1[...] = beta1 * m1 + (1 - beta1) * g
    m2[...] = beta3 * m2 + (1 - beta3) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    m1_hat = m1 / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    _decay(param, lr, weight_decay)
    param -= lr * (m1_hat + alpha * m2) / (np.sqrt(v_hat) + eps)


def adan(param, grad, m, v, n, prev_grad, *, step, lr, beta1, beta2, beta3, eps, weight_decay, grad_scale):
    """Adan (Xie et al. 2022, Algorithm 1), with the bias correction and the betas of the authors' code.

    Their beta is what an average keeps, one minus the paper's. The weight decay is proximal: a division.
    """
    g = _gradient(param, grad, grad_scale, 0)
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
