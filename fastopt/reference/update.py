"""What the references of several updates have in common.

A reference is the plain NumPy formula of an update as its paper writes it, and stands with the update in
``fastopt/updates/``: what the fast kernels are judged against. Given float64 arrays it is the oracle of the tests;
given float32 arrays it is what a NumPy user would write, and so the benchmarks' naive implementation. References
compute in the arrays' own type, know nothing of the rules, and take every hyperparameter by name, without defaults:
those belong to the public functions. Arrays are updated in place.
"""

from __future__ import annotations


def gradient(param, grad, grad_scale, weight_decay):
    """Return g = grad_scale * grad + weight_decay * param, without terms that change nothing: 0 * inf is NaN."""
    g = grad if grad_scale == 1 else grad_scale * grad
    return g if weight_decay == 0 else g + weight_decay * param


def decay_weights(param, lr, weight_decay):
    """Decay the weights apart from the gradient (Loshchilov & Hutter 2019, Algorithm 2, line 12)."""
    if weight_decay != 0:
        param *= 1 - lr * weight_decay
