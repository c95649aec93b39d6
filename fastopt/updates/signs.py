"""Updates by the sign of a gradient or of its average."""

from __future__ import annotations

from fastopt import host_scalars, reference, rules
from fastopt.engine.run import Update, run
from fastopt.arguments import Array, Backend, Real

SIGNUM = Update(rules.signum, host_scalars.signum, reference.signum)


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
) -> None:
    """DOC signum."""
    run(SIGNUM, (param, grad, m), (lr, beta, weight_decay, grad_scale), backend, num_threads)


LION = Update(rules.lion, host_scalars.lion, reference.lion)


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
) -> None:
    """DOC lion."""
    run(LION, (param, grad, m), (lr, beta1, beta2, weight_decay, grad_scale), backend, num_threads)


RPROP = Update(rules.rprop, host_scalars.rprop, reference.rprop)


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
) -> None:
    """DOC rprop."""
    hyperparameters = (eta_minus, eta_plus, step_min, step_max, weight_decay, grad_scale)
    run(RPROP, (param, grad, prev_grad, step_size), hyperparameters, backend, num_threads)
