"""The plain formulas of feature scaling, in NumPy and float64: the oracle of the tests, and ``backend="reference"``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def column_stats(x: NDArray[Any]) -> tuple[Values, ...]:
    """Return of each feature how many values it has, their mean, squared deviations' sum, least and greatest value.

    A NaN is no value. Of no values mean and sum are 0, the least is infinity, and the greatest -infinity. In two
    passes, of which the second corrects the mean (T. Chan, G. Golub and R. LeVeque, 1983, equation 1.7).
    """
    known = ~np.isnan(x)
    count = known.sum(axis=0).astype(np.float64)
    with np.errstate(all="ignore"):  # kernels do not warn of NaN and infinity either
        mean = np.where(known, x, 0.0).sum(axis=0) / np.maximum(count, 1)
        deviations = np.where(known, x - mean, 0.0)
        rest = deviations.sum(axis=0) / np.maximum(count, 1)
        m2 = np.maximum((deviations**2).sum(axis=0) - count * rest**2, 0.0)
        mean = mean + rest
    lowest, highest = np.where(known, x, np.inf).min(axis=0), np.where(known, x, -np.inf).max(axis=0)
    constant = lowest == highest
    return count, np.where(constant, lowest, mean), np.where(constant, 0.0, m2), lowest, highest


def scale(x: NDArray[Any], centre: Values, divisor: Values, factor: Values, shift: Values) -> NDArray[np.float64]:
    """Return x about a centre, by a divisor, times a factor, and shifted: what all scalers of single features do."""
    scaled: NDArray[np.float64] = (x - centre) / divisor * factor + shift
    return scaled
