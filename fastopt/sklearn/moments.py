"""Mean and variance of each feature, of batches with or without weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.scaling.statistics import LEAST_VARIANCE, merged_moments
from fastopt.sklearn.arrays import column_stats

#: Elements of a block of samples of a weighted fit: 512 KiB in float64.
BLOCK = 1 << 16

EPS = np.finfo(np.float64).eps
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Moments:
    """Of each feature: the number or the total weight of its values, their mean, and their squared deviations' sum."""

    count: NDArray[Any]
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]

    @classmethod
    def of_fitted(cls, count: Any, mean: Any, var: Any, features: int) -> Moments:
        """Return what the fitted attributes say; a mean or a variance that is None is not needed."""
        counts, means, variances = (
            np.broadcast_to(np.asarray(0.0 if given is None else given), (features,)) for given in (count, mean, var)
        )
        return cls(counts, means, variances * counts)

    @property
    def var(self) -> NDArray[np.float64]:
        """The mean of squared deviations; NaN of a feature without values."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.count == 0, np.nan, self.m2 / self.count)

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both together."""
        return Moments(*merged_moments(self, other))

    def check(self, with_std: bool) -> None:
        """Raise for a feature whose sums have left the range of float64."""
        seen = self.count != 0
        _refuse(seen & ~np.isfinite(self.mean), "values whose sum overflows float64; expected smaller ones")
        if with_std:
            squares = "values whose squared deviations {} float64; expected {} ones: multiply X by a power of 2 before"
            _refuse(seen & ~np.isfinite(self.m2), squares.format("overflow", "smaller"))
            lost = (self.var < LEAST_VARIANCE) & ~self.is_constant()
            _refuse(seen & lost, squares.format("underflow", "larger"))

    def is_constant(self) -> NDArray[np.bool_]:
        """Return for each feature whether its variance may be 0 but for rounding: scikit-learn's bound."""
        with np.errstate(over="ignore", invalid="ignore"):
            bound = self.count * EPS * self.var + (self.count * self.mean * EPS) ** 2
            constant: NDArray[np.bool_] = self.var <= bound
        return constant


def moments(estimator: Any, array: NDArray[Any], weights: NDArray[np.float64] | None) -> Moments:
    """Return those of an array's features, NaN left out; raise for an infinity."""
    count, mean, m2, lowest, highest = column_stats(estimator, array)
    if weights is not None:
        return _weighted(array, weights, mean)
    m2 = np.where(lowest < highest, np.maximum(m2, TINY), m2)  # not constant, though all squares may underflow
    return Moments(count.astype(np.int64), np.where(count > 0, mean, np.nan), m2)


def _weighted(array: NDArray[Any], weights: NDArray[np.float64], centre: NDArray[np.float64]) -> Moments:
    """Return weighted moments in two passes: a constant feature's deviations from the centre are exactly 0."""
    count, total, rest, m2 = (np.zeros(array.shape[1]) for _ in range(4))
    for rows in _blocks(array):
        deviations, present = _deviations(array[rows], centre)
        count += weights[rows] @ present
        total += weights[rows] @ deviations
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = centre + total / count
    for rows in _blocks(array):
        deviations, _ = _deviations(array[rows], mean)
        rest += weights[rows] @ deviations
        deviations *= deviations
        m2 += weights[rows] @ deviations
    with np.errstate(divide="ignore", invalid="ignore"):
        return Moments(count, mean, np.maximum(m2 - rest * rest / count, 0))


def _deviations(block: NDArray[Any], centre: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return deviations with 0 for NaN, and 1 for each number and 0 for NaN."""
    deviations = block - centre
    missing = np.isnan(deviations)
    deviations[missing] = 0
    return deviations, (~missing).astype(np.float64)


def _blocks(array: NDArray[Any]) -> Iterator[slice]:
    samples, features = array.shape
    step = max(1, BLOCK // features)
    return (slice(begin, begin + step) for begin in range(0, samples, step))


def _refuse(bad: NDArray[np.bool_], what: str) -> None:
    if bad.any():
        raise ValueError(f"feature {int(bad.argmax())} of X has {what}")
