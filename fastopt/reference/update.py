"""Helpers for the references of several updates.

A reference is the plain NumPy formula of an update as in its paper. It is in the update's module in
``fastopt/updates/``, and the fast kernels are compared with it. With float64 arrays, it is the oracle of the tests;
with float32 arrays, it is the naive implementation of the benchmarks, as a NumPy user would write it. References
compute in the arrays' own type, do not use the rules, and take every hyperparameter by name; the public functions have
the defaults. Arrays are updated in place.
"""

from __future__ import annotations


def gradient(param, grad, grad_scale, weight_decay):
    """Return g = grad_scale * grad + weight_decay * param, without terms of factor 0, because 0 * inf is NaN."""
    g = grad if grad_scale == 1 else grad_scale * grad
    return g if weight_decay == 0 else g + weight_decay * param


def decay_weights(param, lr, weight_decay):
    """Apply decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2, line 12)."""
    if weight_decay != 0:
        param *= 1 - lr * weight_decay
