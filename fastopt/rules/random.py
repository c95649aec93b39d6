"""The arithmetic on random bits, written once: scalar functions from which the compilers make kernels.

How to read them. ``bits`` are 32 random bits of an element, and ``more_bits`` another 32, for the longer significand of
float64. They are the only random input; the engine computes them (``fastopt/engine/core/draw.c``). Other names before
``/`` are elements of arrays; names after it are coefficients (``fastopt/coefficients/random.py``). A function that is
named after a compute type is only for that type. As in ``fastopt/rules/update.py``, there are no numeric literals and
no flags.
"""

from fastopt.rules.random_primitives import exponent, low31, mantissa, other31, signed, top21, top24, top26, top27

# ---- Results are between lowest and highest, which param's own type can store, so these bounds also hold after the sum
# ---- is rounded, and after it is rounded again to 16 bits.

# ---- Uniform: an integer of 24 bits, or of 53, times unit (2^-24, 2^-53) is a number in [0, 1).


def uniform_float32(bits, /, low, width, unit, lowest, highest):
    x = low + width * (unit * top24(bits))
    x = x if x > lowest else lowest
    return x if x < highest else highest


def uniform_float64(bits, more_bits, /, low, width, unit, step, lowest, highest):
    x = low + width * (unit * (step * top27(bits) + top26(more_bits)))
    x = x if x > lowest else lowest
    return x if x < highest else highest


# ---- Normal: the inverse of the distribution function. The highest bit is the sign. The others give x in (0, 1), so
# ---- that erf(|z| / sqrt(2)) = x, and y = 1 - x, which has its own rounding, because the tails depend on y.
# ---- A truncated distribution has x below extent = erf(bound / sqrt(2)), and y above edge = 1 - extent.
# ---- Normal noise is the same function of an array of means, with infinite limits: comparisons leave NaN as it is.


def normal_float32(
    bits, /, mean, std, extent, edge, unit, half, one, two, minus_log2, a1, a2, a3,
    p0, p1, p2, p3, p4, p5, p6, q1, q2, q3, q4, q5, lowest, highest,
):  # fmt: skip
    x = extent * (unit * (low31(bits) + half))
    y = edge + extent * (unit * (other31(bits) + half))
    v = y * (two - y)
    # w = -log(v), where v = 1 - x^2. The logarithm of the mantissa is a series in s.
    s = mantissa(v)
    s = (s - one) / (s + one)
    z = s * s
    w = exponent(v) * minus_log2 - s * (two + z * (a1 + z * (a2 + z * a3)))
    p = p0 + w * (p1 + w * (p2 + w * (p3 + w * (p4 + w * (p5 + w * p6)))))
    q = one + w * (q1 + w * (q2 + w * (q3 + w * (q4 + w * q5))))
    x = mean + std * signed(x * p / q, bits)
    x = lowest if x < lowest else x
    return highest if x > highest else x


def normal_float64(
    bits, more_bits, /, mean, std, extent, edge, unit, step, half, one, two, minus_log2,
    a1, a2, a3, a4, a5, a6, a7, a8, a9,
    p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14,
    q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, lowest, highest,
):  # fmt: skip
    rest = top21(more_bits) + half
    x = extent * (unit * (step * low31(bits) + rest))
    y = edge + extent * (unit * (step * other31(bits) + (step - rest)))
    v = y * (two - y)
    s = mantissa(v)
    s = (s - one) / (s + one)
    z = s * s
    w = a5 + z * (a6 + z * (a7 + z * (a8 + z * a9)))
    w = exponent(v) * minus_log2 - s * (two + z * (a1 + z * (a2 + z * (a3 + z * (a4 + z * w)))))
    p = p7 + w * (p8 + w * (p9 + w * (p10 + w * (p11 + w * (p12 + w * (p13 + w * p14))))))
    p = p0 + w * (p1 + w * (p2 + w * (p3 + w * (p4 + w * (p5 + w * (p6 + w * p))))))
    q = q7 + w * (q8 + w * (q9 + w * (q10 + w * (q11 + w * (q12 + w * q13)))))
    q = one + w * (q1 + w * (q2 + w * (q3 + w * (q4 + w * (q5 + w * (q6 + w * q))))))
    x = mean + std * signed(x * p / q, bits)
    x = lowest if x < lowest else x
    return highest if x > highest else x


# ---- Uniform noise: std times a number from -1 to below 1, a multiple of unit (2^-23, 2^-52).


def uniform_noise_float32(mean, bits, /, std, unit, one):
    return mean + std * (unit * top24(bits) - one)


def uniform_noise_float64(mean, bits, more_bits, /, std, unit, step, one):
    return mean + std * (unit * (step * top27(bits) + top26(more_bits)) - one)


# ---- Dropout, forward and backward: an element is dropped if its 24 bits are below threshold, whatever its value.


def dropout(x, bits, /, scale, threshold, zero):
    return scale * x if top24(bits) >= threshold else zero
