"""Coefficients of rules/random.py: constants of approximations, and values derived from hyperparameters."""

from __future__ import annotations

from math import erf, erfc, floor, frexp, inf, log, nextafter, sqrt
from typing import Any

import numpy as np

from fastopt.specs.dtypes import STORAGES

#: z / x as a ratio of two polynomials in w = -log(1 - x^2), where x = erf(z / sqrt(2)). All coefficients are positive,
#: so there is no cancellation. They were fitted (by Lawson's iteration, in 70 digits) to minimise the relative error
#: over all w that the bits can give: 1.1e-8 up to w = 22.5, and 2.7e-16 up to w = 37.
RATIO = {
    "float32": (
        (1.253314123, 0.4476277815, 0.09113441246, 0.01255782074, 0.001143710311, 6.009117201e-05, 1.96440774e-07),
        (0.09535559351, 0.03472009977, 0.00231974798, 0.0002505593313, 3.810273846e-06),
    ),
    "float64": (
        (
            1.2533141373155006, 0.6712091133956909, 0.20442323641354657, 0.046069103491120825, 0.007841366863917038,
            0.0010546258522102405, 0.00011377831543448078, 9.867818420402802e-06, 6.914784477317554e-07,
            3.9616329340931494e-08, 1.853782687438397e-09, 5.885588069550017e-11, 1.985431528805608e-12,
            1.521825821543339e-14, 1.0918672568719172e-17,
        ),
        (
            0.2737480008494775, 0.07840704821998076, 0.01529829516929166, 0.0020953922150790108, 0.00028707864586092693,
            2.3278013791717605e-05, 2.164201640446125e-06, 1.1242092383982488e-07, 7.111375316986118e-09,
            2.2152993564123114e-10, 8.842209430900005e-12, 1.5484992865650971e-13, 4.338173095649714e-16,
        ),
    ),
}  # fmt: skip

#: Terms of log((1 + s) / (1 - s)) = 2 s + 2 s^3 / 3 + 2 s^5 / 5 ..., after the first; s^2 is at most 0.03.
SERIES = {"float32": 3, "float64": 9}

#: Number of an element's bits that dropout compares with a probability.
DROPOUT_BITS = 24

#: For each storage type: digits, smallest distance of two numbers, and the smallest and largest number above 0.
STORED = {each.name: (each.digits, each.step, each.least, each.largest) for each in STORAGES}

Scalars = tuple[float, ...]


def _at_most(storage: str, x: float) -> float:
    """Return the largest storable number <= x; -infinity if there is none."""
    digits, step, least, largest = STORED[storage]
    if abs(x) > largest:
        return largest if x > 0 else -inf
    if abs(x) < least:
        return 0.0 if x >= 0 else -least
    step = max(step, 2.0 ** (frexp(x)[1] - digits))
    return floor(x / step) * step


def _at_least(storage: str, x: float) -> float:
    """Return the smallest storable number >= x."""
    return 0.0 - _at_most(storage, -x)  # never -0


def uniform(storage: str, low: float, high: float) -> Scalars:
    """Return the coefficients of ``uniform_float32`` and ``uniform_float64``."""
    is_wide = storage == "float64"
    units = (2.0**-53, 2.0**26) if is_wide else (2.0**-24,)
    width = _width(np.float64 if is_wide else np.float32, low, high, 1 - units[0])
    lowest, highest = _at_least(storage, low), _at_most(storage, nextafter(high, -inf))
    if highest > lowest and high - highest <= _at_least(storage, high) - high:
        highest = _at_most(storage, nextafter(highest, -inf))  # below the rounded high, with which NumPy compares
    return (low, width, *units, *((lowest, highest) if lowest <= highest else (low, low)))


def _width(real: type[np.floating[Any]], low: float, high: float, largest: float) -> float:
    """Return high - low, reduced so that low plus the largest part of it is not more than high.

    Both are rounded: with low = -32.6 and high = -1.9, float32 numbers exceeded high by 3 ulp.
    """
    if not high - low <= float(np.finfo(real).max):
        raise ValueError(f"high - low is {high - low}; expected a number that is finite in {real.__name__}")
    with np.errstate(all="ignore"):  # the caller's numbers may be subnormal, or round to infinity
        width = real(high - low)
        while real(low) + width * real(largest) > real(high):
            width = np.nextafter(width, real(0))
    return float(width)


def _constants(dtype: str) -> Scalars:
    """Return the coefficients of ``normal_float32`` and ``normal_float64``: all from unit on."""
    units = (2.0**-31,) if dtype == "float32" else (2.0**-52, 2.0**21)
    series = (2 / (2 * k + 1) for k in range(1, SERIES[dtype] + 1))
    above, below = RATIO[dtype]
    return (*units, 0.5, 1.0, 2.0, -log(2), *series, *above, *below)


CONSTANTS = {dtype: _constants(dtype) for dtype in RATIO}


def normal(storage: str, mean: float, std: float, bound: float = inf) -> Scalars:
    """Return the coefficients of ``normal_float32`` and ``normal_float64``, truncated at ``bound``."""
    dtype = "float64" if storage == "float64" else "float32"
    lowest, highest = -STORED[dtype][-1], STORED[dtype][-1]
    if bound < inf:
        lowest, highest = _at_least(storage, mean - bound * std), _at_most(storage, mean + bound * std)
    limits = (lowest, highest) if lowest <= highest else (mean, mean)
    return (mean, std, erf(bound / sqrt(2)), erfc(bound / sqrt(2)), *CONSTANTS[dtype], *limits)


def noise(storage: str, std: float) -> Scalars:
    """Of ``normal_float32`` and ``normal_float64`` with a mean for each element, and no limits."""
    return (*normal(storage, 0.0, std)[1:-2], -inf, inf)


def uniform_noise(storage: str, std: float) -> Scalars:
    """Of ``uniform_noise_float32`` and ``uniform_noise_float64``."""
    return (std, *((2.0**-52, 2.0**26) if storage == "float64" else (2.0**-23,)), 1.0)


def dropout(dtype: str, p: float, scale: float) -> Scalars:
    """Return the coefficients of ``dropout``: the probability is p, rounded to a multiple of 2^-24."""
    return (scale, float(round(p * 2**DROPOUT_BITS)), 0.0)
