"""What a rule of rules/random.py may call, as plain Python; every compiler has its own version of each.

``bits`` are 32 random bits. ``bits >> 8`` and its like become a number exactly, in the compute type.
"""

from math import frexp, sqrt

__all__ = ["exponent", "low31", "mantissa", "other31", "signed", "top21", "top24", "top26", "top27"]


def top21(bits):
    """Return the highest 21 bits as a number."""
    return float(bits >> 11)


def top24(bits):
    """Return the highest 24 bits as a number: as many as a float32 holds."""
    return float(bits >> 8)


def top26(bits):
    """Return the highest 26 bits as a number: of 53, what 27 leave."""
    return float(bits >> 6)


def top27(bits):
    """Return the highest 27 bits as a number."""
    return float(bits >> 5)


def low31(bits):
    """Return all bits but the highest as a number: rounded, where that is a float32."""
    return float(bits & 0x7FFFFFFF)


def other31(bits):
    """Return what ``low31`` lacks to 2^31 - 1, rounded once."""
    return float(~bits & 0x7FFFFFFF)


def signed(x, bits):
    """Return x, or -x where the highest bit is set."""
    return -x if bits >> 31 else x


def exponent(x):
    """Return the e of x = mantissa * 2^e, of a normal number above 0."""
    fraction, power = frexp(x)
    return float(power - 1 if fraction < sqrt(0.5) else power)


def mantissa(x):
    """Return the factor from sqrt(1/2) to below sqrt(2) of x = mantissa * 2^e."""
    fraction, _ = frexp(x)
    return fraction * 2 if fraction < sqrt(0.5) else fraction
