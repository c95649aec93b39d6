"""Gradient descent, with and without momentum."""

from __future__ import annotations

from typing import Literal, SupportsIndex

from fastopt import host_scalars, reference, rules
from fastopt.engine.run import Update, run
from fastopt.arguments import Array, Backend, Real

SGD = Update(rules.sgd, host_scalars.sgd, reference.sgd)


def sgd(
    param: Array,
    grad: Array,
    *,
    lr: Real,
    weight_decay: Real = 0.0,
    grad_scale: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
) -> None:
    """DOC sgd."""
    run(SGD, (param, grad), (lr, weight_decay, grad_scale), backend, num_threads)


MOMENTUM = Update(rules.momentum, host_scalars.momentum, reference.momentum)
NESTEROV = Update(rules.nesterov, host_scalars.momentum, reference.momentum)


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
) -> None:
    """DOC momentum."""
    update = NESTEROV if nesterov else MOMENTUM
    hyperparameters = (lr, momentum, dampening, nesterov, form, weight_decay, grad_scale)
    run(update, (param, grad, velocity), hyperparameters, backend, num_threads)


ASGD = Update(rules.asgd, host_scalars.asgd, reference.asgd)


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
) -> None:
    """DOC asgd."""
    hyperparameters = (step, lr, lambd, alpha, t0, weight_decay, grad_scale)
    run(ASGD, (param, grad, average), hyperparameters, backend, num_threads)
