"""The functions that a rule may call, in plain Python; every compiler has its own version of each."""

from math import fabs, sqrt

__all__ = ["fabs", "gate", "relu", "sign", "sqrt"]


def sign(x):
    """Return 1 for x > 0, -1 for x < 0, and x itself for zero and NaN, so that NaN propagates."""
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else x)


def relu(x):
    """Return x for x > 0, 0 for x <= 0, and NaN for NaN."""
    return 0.0 if x <= 0.0 else x


def gate(dy, y):
    """Return the gradient of relu, whose result was y: dy if y > 0 or y is NaN, else 0."""
    return 0.0 if y <= 0.0 else dy
