"""The plain formulas of feature scaling, in NumPy and float64: the oracle of the tests, and ``backend="reference"``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def column_stats(x: NDArray[Any]) -> tuple[Values, ...]:
    """Return for each feature the number of values, their mean, sum of squared deviations, minimum and maximum.

    NaN does not count as a value. Without values, mean and sum are 0, the minimum is infinity and the maximum
    -infinity. The second of two passes corrects the mean (T. Chan, G. Golub and R. LeVeque, 1983, equation 1.7).
    """
    known = ~np.isnan(x)
    count = known.sum(axis=0).astype(np.float64)
    with np.errstate(all="ignore"):  # kernels do not warn about NaN and infinity either
        mean = np.where(known, x, 0.0).sum(axis=0) / np.maximum(count, 1)
        deviations = np.where(known, x - mean, 0.0)
        rest = deviations.sum(axis=0) / np.maximum(count, 1)
        m2 = np.maximum((deviations**2).sum(axis=0) - count * rest**2, 0.0)
        mean = mean + rest
    lowest, highest = np.where(known, x, np.inf).min(axis=0), np.where(known, x, -np.inf).max(axis=0)
    constant = lowest == highest
    return count, np.where(constant, lowest, mean), np.where(constant, 0.0, m2), lowest, highest


def scale(x: NDArray[Any], centre: Values, divisor: Values, factor: Values, shift: Values) -> NDArray[np.float64]:
    """Return (x - centre) / divisor * factor + shift, which all scalers of single features compute."""
    scaled: NDArray[np.float64] = (x - centre) / divisor * factor + shift
    return scaled
