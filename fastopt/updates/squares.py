"""A learning rate for each element, from the squares of its gradients."""

from __future__ import annotations

from typing import SupportsIndex

from fastopt import host_scalars, reference, rules
from fastopt.engine.run import Update, run
from fastopt.arguments import Array, Backend, Real

ADAGRAD = Update(rules.adagrad, host_scalars.adagrad, reference.adagrad)


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
) -> None:
    """DOC adagrad."""
    hyperparameters = (step, lr, lr_decay, eps, weight_decay, grad_scale)
    run(ADAGRAD, (param, grad, square_sum), hyperparameters, backend, num_threads)


RMSPROP = Update(rules.rmsprop, host_scalars.rmsprop, reference.rmsprop)
RMSPROP_CENTERED = Update(rules.rmsprop_centered, host_scalars.rmsprop, reference.rmsprop)
RMSPROP_MOMENTUM = Update(rules.rmsprop_momentum, host_scalars.rmsprop_momentum, reference.rmsprop)
RMSPROP_CENTERED_MOMENTUM = Update(rules.rmsprop_centered_momentum, host_scalars.rmsprop_momentum, reference.rmsprop)


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
) -> None:
    """DOC rmsprop."""
    if velocity is None and momentum:
        raise ValueError(f"velocity is None; expected an array, since momentum is {momentum}")
    hyperparameters = (lr, decay, eps, eps_inside_sqrt, momentum, weight_decay, grad_scale)
    if grad_avg is None and velocity is None:
        run(RMSPROP, (param, grad, square_avg), hyperparameters, backend, num_threads)
    elif velocity is None:
        run(RMSPROP_CENTERED, (param, grad, square_avg, grad_avg), hyperparameters, backend, num_threads)
    elif grad_avg is None:
        run(RMSPROP_MOMENTUM, (param, grad, square_avg, velocity), hyperparameters, backend, num_threads)
    else:
        arrays = (param, grad, square_avg, grad_avg, velocity)
        run(RMSPROP_CENTERED_MOMENTUM, arrays, hyperparameters, backend, num_threads)


ADADELTA = Update(rules.adadelta, host_scalars.adadelta, reference.adadelta)


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
) -> None:
    """DOC adadelta."""
    hyperparameters = (lr, decay, eps, weight_decay, grad_scale)
    run(ADADELTA, (param, grad, square_avg, delta_avg), hyperparameters, backend, num_threads)
