"""Mean and variance of a whole data set, accumulated batch by batch, in one process or several."""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from fastopt.common.display import Display, keywords
from fastopt.common.guarded import Guarded, unchecked
from fastopt.common.types import Array, Backend
from fastopt.engine.core.hyperparameters import flag
from fastopt.engine.core.options import check_backend, check_num_threads
from fastopt.engine.norm import norm
from fastopt.norm.options import check_axis, length


class DatasetStatistics(Guarded, Display):
    """Count, mean and sum of squared deviations (m2) of each channel, over all values added so far.

    Two such triples are merged without reading the values again:

        count = count_a + count_b
        mean  = mean_a + (mean_b - mean_a) * count_b / count
        m2    = m2_a + m2_b + (mean_b - mean_a)^2 * count_a * count_b / count

    So batches may differ in size and come in any order, and other threads, processes or machines may process parts of
    the data. The mean of the batches' variances would omit the variance between the batches.

    Parameters
    ----------
    channels : int
        Number of channels.
    axis : int
        Axis of the channels in the arrays passed to `update`; any but 0.
    backend, num_threads : optional
        See `fastopt.norm`.

    Attributes
    ----------
    count : int
        Number of values of each channel.
    mean, m2 : array of float64
        Of shape (channels,).

    References
    ----------
    T. Chan, G. Golub and R. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.norm import BatchNorm, DatasetStatistics
    >>> statistics = DatasetStatistics(1)
    >>> for batch in ([[1.0], [2.0], [3.0]], [[6.0]]):
    ...     statistics.update(np.array(batch))
    >>> statistics.count, statistics.mean, statistics.var()
    (4, array([3.]), array([3.5]))
    >>> norm = BatchNorm(1, unbiased=False)
    >>> norm.use(statistics)
    >>> norm.running_var
    array([3.5], dtype=float32)
    """

    _assignable = dict.fromkeys(("axis", "backend", "num_threads"), unchecked)
    _instead = dict.fromkeys(("count", "mean", "m2"), "call update or merge")

    def __init__(
        self, channels: int, *, axis: SupportsIndex = 1, backend: Backend = None, num_threads: int | None = None
    ):
        channels = length("channels", channels)
        check_axis(axis)
        check_backend(backend)
        check_num_threads(num_threads)
        self.count = 0
        self.mean = np.zeros(channels)
        self.m2 = np.zeros(channels)
        self.axis = axis
        self.backend = backend
        self.num_threads = num_threads

    def _parts(self) -> list[str]:
        options = {name: getattr(self, name) for name in ("axis", "backend", "num_threads", "count")}
        return [str(self.mean.size), *keywords(options)]

    def update(self, x: Array) -> None:
        """Add the values of a batch."""
        self._add("x", *norm.moments(x, self.axis, self.backend, self.num_threads))

    def merge(self, other: DatasetStatistics) -> None:
        """Add the statistics of another object."""
        self._add("other", other.count, other.mean, other.m2)

    def var(self, unbiased: bool = False) -> NDArray[Any]:
        """Return the variance of each channel; NaN where there are too few values."""
        degrees = self.count - flag("unbiased", unbiased)
        return self.m2 / degrees if degrees > 0 else np.full_like(self.m2, np.nan)

    def _add(self, name: str, count: int, mean: np.ndarray[Any, Any], m2: np.ndarray[Any, Any]) -> None:
        if mean.shape != self.mean.shape:
            raise ValueError(f"{name} has {mean.size} channels; expected {self.mean.size}")
        if not count:
            return
        total = self.count + count
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite x gives infinity and NaN without a warning
            delta = mean - self.mean
            self.mean[...] += delta * (count / total)
            self.m2[...] += m2 + delta * delta * (self.count / total * count)
        vars(self)["count"] = total
