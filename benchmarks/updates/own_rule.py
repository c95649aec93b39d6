"""Adam as a user's rule, to compare with the built-in update."""

from __future__ import annotations

import math

import fastopt


def corrected(step, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Return the rule's scalars, in float64, for Adam's hyperparameters."""
    return {
        "step_size": lr / (1 - beta1**step),
        "beta1": beta1,
        "rest1": 1 - beta1,
        "beta2": beta2,
        "rest2": 1 - beta2,
        "correction": 1 / math.sqrt(1 - beta2**step),
        "eps": eps,
    }


@fastopt.rule(prepare=corrected)
def adam(param, grad, m, v, /, step_size, beta1, rest1, beta2, rest2, correction, eps):
    """Adam with the equations of the paper."""
    m = beta1 * m + rest1 * grad
    v = beta2 * v + rest2 * grad**2
    return param - step_size * m / (math.sqrt(v) * correction + eps), m, v
