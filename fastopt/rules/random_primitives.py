"""The functions that a rule of rules/random.py may call, in plain Python; every compiler has its own version of each.

``bits`` are 32 random bits. Integers such as ``bits >> 8`` are converted to the compute type exactly.
"""

from math import frexp, sqrt

__all__ = ["exponent", "low31", "mantissa", "other31", "signed", "top21", "top24", "top26", "top27"]


def top21(bits):
    """Return the highest 21 bits as a number."""
    return float(bits >> 11)


def top24(bits):
    """Return the highest 24 bits as a number, the precision of float32."""
    return float(bits >> 8)


def top26(bits):
    """Return the highest 26 bits as a number: the other 27 of float64's 53 bits come from ``top27``."""
    return float(bits >> 6)


def top27(bits):
    """Return the highest 27 bits as a number."""
    return float(bits >> 5)


def low31(bits):
    """Return all bits except the highest as a number, which is rounded in float32."""
    return float(bits & 0x7FFFFFFF)


def other31(bits):
    """Return 2^31 - 1 minus ``low31``, rounded once."""
    return float(~bits & 0x7FFFFFFF)


def signed(x, bits):
    """Return x, or -x where the highest bit is set."""
    return -x if bits >> 31 else x


def exponent(x):
    """Return the exponent e of a normal number x = mantissa * 2^e above 0."""
    fraction, power = frexp(x)
    return float(power - 1 if fraction < sqrt(0.5) else power)


def mantissa(x):
    """Return the mantissa, in [sqrt(1/2), sqrt(2)), of x = mantissa * 2^e."""
    fraction, _ = frexp(x)
    return fraction * 2 if fraction < sqrt(0.5) else fraction
