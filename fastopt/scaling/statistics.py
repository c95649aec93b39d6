"""Statistics of features, accumulated batch by batch in one process or several, and merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Numbers of features, in float64.
Values: TypeAlias = NDArray[Any]

#: Squares below the smallest normal number lose digits or become 0. From this value on, that error is smaller than the
#: rounding error of their mean.
LEAST_VARIANCE = float(np.finfo(np.float64).tiny / np.finfo(np.float64).eps)


class Moments(Protocol):
    """The moments of each feature."""

    @property
    def count(self) -> Values:
        """The number of values, or their total weight."""

    @property
    def mean(self) -> Values:
        """Their mean."""

    @property
    def m2(self) -> Values:
        """The sum of squared deviations from the mean."""


def merged_moments(first: Moments, second: Moments) -> tuple[Values, Values, Values]:
    """Return the count, mean and m2 of both together, by the formulas of Chan, Golub and LeVeque (1979)."""
    count = first.count + second.count
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        share = second.count / count
        delta = second.mean - first.mean
        mean = first.mean + delta * share
        m2 = first.m2 + second.m2 + delta * delta * (first.count * share)
    empty = [first.count == 0, second.count == 0]
    return count, np.select(empty, [second.mean, first.mean], mean), np.select(empty, [second.m2, first.m2], m2)


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """For each feature: the number of values, their mean, the sum of squared deviations from it, minimum and maximum.

    Without values, mean and m2 are 0, the minimum is infinity and the maximum is -infinity.
    """

    count: Values
    mean: Values
    m2: Values
    min: Values
    max: Values

    def merged(self, other: ColumnStatistics) -> ColumnStatistics:
        """Return the statistics of both together, without reading the values again."""
        count, mean, m2 = merged_moments(self, other)
        lowest, highest = np.minimum(self.min, other.min), np.maximum(self.max, other.max)
        constant = (self.count > 0) & (other.count > 0) & (lowest == highest)
        return ColumnStatistics(count, np.where(constant, lowest, mean), np.where(constant, 0.0, m2), lowest, highest)

    def check(self) -> None:
        """Raise if no data can have these statistics. Sums may overflow: the squares have if the mean has."""
        _check_shapes(self, (self.mean.size,))
        _refuse("count", self.count, ~_is_whole(self.count), "a whole number, 0 or more")
        _refuse("m2", self.m2, self.m2 < 0, "0 or more")
        seen = self.count > 0
        _refuse("min", self.min, seen & ~np.isfinite(self.min), "a finite number")
        _refuse("max", self.max, seen & ~np.isfinite(self.max), "a finite number")
        _refuse("max", self.max, seen & (self.max < self.min), "min or more")
        with np.errstate(over="ignore", invalid="ignore"):
            rounding = 1e-6 * (self.max - self.min) + 1e-15 * np.abs(self.mean)
            outside = (self.mean < self.min - rounding) | (self.mean > self.max + rounding)
        _refuse("mean", self.mean, seen & ~np.isfinite(self.mean) & np.isfinite(self.m2), "a finite number")
        _refuse("mean", self.mean, seen & outside & np.isfinite(self.mean), "a number from min to max")


@dataclass(frozen=True, eq=False)
class CrossProducts:
    """For all features: the number of samples, their mean, and the sums of products of deviations from it, by pair."""

    count: Values
    mean: Values
    products: Values

    def merged(self, other: CrossProducts) -> CrossProducts:
        """Return the statistics of both together."""
        count = self.count + other.count
        share = other.count / count
        with np.errstate(over="ignore", invalid="ignore"):
            delta = other.mean - self.mean
            products = self.products + other.products + np.outer(delta, delta) * (self.count * share)
            return CrossProducts(count, self.mean + delta * share, products)

    def check(self) -> None:
        """Raise if no data can have these statistics."""
        _check_shapes(self, (self.mean.size,), count=(), products=(self.mean.size, self.mean.size))
        _refuse("count", self.count, ~_is_whole(self.count) | (self.count == 0), "a whole number, 1 or more")
        squares = np.diag(self.products)
        _refuse("products", squares, squares < 0, "0 or more, by itself")
        _refuse("mean", self.mean, ~np.isfinite(self.mean) & np.isfinite(squares), "a finite number")


def _check_shapes(statistics: object, shape: tuple[int, ...], **others: tuple[int, ...]) -> None:
    for name, array in vars(statistics).items():
        expected = others.get(name, shape)
        if array.shape != expected:
            raise ValueError(f"{name} has shape {array.shape}; expected {expected}")


def _is_whole(count: Values) -> Values:
    whole: Values = np.isfinite(count) & (count >= 0) & (count == np.floor(count))
    return whole


def _refuse(name: str, values: Values, bad: Values, expected: str) -> None:
    """Raise for the first bad value."""
    if bad.any():
        at = int(bad.argmax())
        where = f" for feature {at}" if bad.ndim else ""
        raise ValueError(f"{name} has {values.flat[at]:g}{where}; expected {expected}")
