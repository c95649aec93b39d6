"""Adam and its relatives: averages of the gradient and of its square."""

from __future__ import annotations

from typing import SupportsIndex

from fastopt import host_scalars, reference, rules
from fastopt.engine.run import Update, run
from fastopt.arguments import Array, Backend, Real

ADAM = Update(rules.adam, host_scalars.adam, reference.adam)
AMSGRAD = Update(rules.amsgrad, host_scalars.adam, reference.adam)


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
) -> None:
    """DOC adam."""
    hyperparameters = (step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale)
    if v_max is None:
        run(ADAM, (param, grad, m, v), hyperparameters, backend, num_threads)
    else:
        run(AMSGRAD, (param, grad, m, v, v_max), hyperparameters, backend, num_threads)


ADAMW = Update(rules.adam, host_scalars.adamw, reference.adamw)
AMSGRADW = Update(rules.amsgrad, host_scalars.adamw, reference.adamw)


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
) -> None:
    """DOC adamw."""
    hyperparameters = (step, lr, beta1, beta2, eps, weight_decay, grad_scale)
    if v_max is None:
        run(ADAMW, (param, grad, m, v), hyperparameters, backend, num_threads)
    else:
        run(AMSGRADW, (param, grad, m, v, v_max), hyperparameters, backend, num_threads)


ADAMAX = Update(rules.adamax, host_scalars.adamax, reference.adamax)


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
) -> None:
    """DOC adamax."""
    hyperparameters = (step, lr, beta1, beta2, eps, weight_decay, grad_scale)
    run(ADAMAX, (param, grad, m, u), hyperparameters, backend, num_threads)


NADAM = Update(rules.nadam, host_scalars.nadam, reference.nadam)


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
) -> None:
    """DOC nadam."""
    hyperparameters = (
        step, mu_product, lr, beta1, beta2, eps, momentum_decay, decoupled_weight_decay, weight_decay, grad_scale
    )  # fmt: skip
    run(NADAM, (param, grad, m, v), hyperparameters, backend, num_threads)


RADAM = Update(rules.radam, host_scalars.radam, reference.radam)
RADAM_UNRECTIFIED = Update(rules.radam_unrectified, host_scalars.radam_unrectified, reference.radam)


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
) -> None:
    """DOC radam."""
    update = RADAM if host_scalars.radam_is_rectified(step, beta2) else RADAM_UNRECTIFIED
    hyperparameters = (step, lr, beta1, beta2, eps, decoupled_weight_decay, weight_decay, grad_scale)
    run(update, (param, grad, m, v), hyperparameters, backend, num_threads)


ADABELIEF = Update(rules.adabelief, host_scalars.adabelief, reference.adabelief)


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
) -> None:
    """DOC adabelief."""
    hyperparameters = (step, lr, beta1, beta2, eps, weight_decay, grad_scale)
    run(ADABELIEF, (param, grad, m, s), hyperparameters, backend, num_threads)


YOGI = Update(rules.yogi, host_scalars.yogi, reference.yogi)


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
) -> None:
    """DOC yogi."""
    hyperparameters = (step, lr, beta1, beta2, eps, bias_correction, weight_decay, grad_scale)
    run(YOGI, (param, grad, m, v), hyperparameters, backend, num_threads)


ADEMAMIX = Update(rules.ademamix, host_scalars.ademamix, reference.ademamix)


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
) -> None:
    """DOC ademamix."""
    hyperparameters = (step, lr, beta1, beta2, beta3, alpha, warmup, eps, weight_decay, grad_scale)
    run(ADEMAMIX, (param, grad, m1, m2, v), hyperparameters, backend, num_threads)


ADAN = Update(rules.adan, host_scalars.adan, reference.adan)


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
) -> None:
    """DOC adan."""
    hyperparameters = (step, lr, beta1, beta2, beta3, eps, weight_decay, grad_scale)
    run(ADAN, (param, grad, m, v, n, prev_grad), hyperparameters, backend, num_threads)
