"""The functions that a rule may call, as plain Python; every compiler has its own version of each."""

from math import fabs, sqrt

__all__ = ["fabs", "sign", "sqrt"]


def sign(x):
    """Return 1 above zero, -1 below it, and x itself at a zero or NaN, so that NaN goes on."""
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else x)
