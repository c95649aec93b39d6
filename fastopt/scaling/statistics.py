"""What is known of features: gathered batch by batch, in any number of places, and merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

#: Numbers of features, in float64.
Values: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """Of each feature: how many values, their mean, the sum of squared deviations from it, the least, the greatest.

    Where there are no values, mean and m2 are 0, and the least is greater than the greatest.
    """

    count: Values
    mean: Values
    m2: Values
    min: Values
    max: Values

    @property
    def features(self) -> int:
        """How many features there are."""
        return self.mean.size

    def merged(self, other: ColumnStatistics) -> ColumnStatistics:
        """Return the statistics of both together, by Chan, Golub and LeVeque: without a second look at the values."""
        count = self.count + other.count
        lowest, highest = np.minimum(self.min, other.min), np.maximum(self.max, other.max)
        with np.errstate(over="ignore", invalid="ignore"):
            share = other.count / np.maximum(count, 1)
            delta = other.mean - self.mean
            mean = self.mean + delta * share
            m2 = self.m2 + other.m2 + delta * delta * (self.count * share)
        mean = np.select([self.count == 0, other.count == 0, lowest == highest], [other.mean, self.mean, lowest], mean)
        m2 = np.select([self.count == 0, other.count == 0, lowest == highest], [other.m2, self.m2, 0.0], m2)
        return ColumnStatistics(count, mean, m2, lowest, highest)


@dataclass(frozen=True, eq=False)
class CrossProducts:
    """Of all features: how many samples, their mean, and the sums of products of deviations from it, of each pair."""

    count: Values
    mean: Values
    products: Values

    @property
    def features(self) -> int:
        """How many features there are."""
        return self.mean.size

    def merged(self, other: CrossProducts) -> CrossProducts:
        """Return those of both together."""
        count = self.count + other.count
        share = other.count / count
        delta = other.mean - self.mean
        with np.errstate(over="ignore", invalid="ignore"):
            products = self.products + other.products + np.outer(delta, delta) * (self.count * share)
            return CrossProducts(count, self.mean + delta * share, products)
