"""The functions that a rule may call, as plain Python; every compiler has its own version of each."""

from math import fabs, sqrt

__all__ = ["fabs", "gate", "relu", "sign", "sqrt"]


def sign(x):
    """Return 1 above zero, -1 below it, and x itself at a zero or NaN, so that NaN goes on."""
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else x)


def relu(x):
    """Return x above zero, 0 below it, and NaN for a NaN."""
    return 0.0 if x <= 0.0 else x


def gate(dy, y):
    """Return the gradient of what relu made y of: dy where y is above zero (or a NaN), else 0."""
    return 0.0 if y <= 0.0 else dy
