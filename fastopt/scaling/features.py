"""Scalers of features, each by itself: to a range, or to a mean and a spread."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from fastopt.coefficients.ranges import ANY
from fastopt.common.guarded import unchecked
from fastopt.common.messages import brief
from fastopt.common.types import Backend, Real
from fastopt.engine.core.hyperparameters import flag
from fastopt.engine.core.hyperparameters import real as real_number
from fastopt.scaling.scaler import Scaler
from fastopt.scaling.statistics import LEAST_VARIANCE


class MinMaxScaler(Scaler):
    """To a range: the least value of each feature becomes lo, the greatest hi.

        y = (x - min) / (max - min) * (hi - lo) + lo

    min becomes exactly lo. max becomes exactly hi where lo is 0, and otherwise hi up to the rounding of (hi - lo):
    within 1 ulp of the larger of abs(lo) and abs(hi), which is many of hi where hi is small. Nothing between them
    becomes more than max does, or less than lo. A constant feature becomes lo.

    Parameters
    ----------
    feature_range : (float, float)
        lo and hi, which is greater.
    nan, backend, num_threads : optional
        See `fastopt.scaling`.

    Notes
    -----
    scikit-learn multiplies by ``(hi - lo) / (max - min)``, and so max may miss hi by several roundings. It has
    ``clip``; here what lies beyond what was fitted leaves the range.

    References
    ----------
    J. Han, M. Kamber and J. Pei, "Data Mining: Concepts and Techniques", 3rd edition, 2011, section 3.5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.scaling import MinMaxScaler
    >>> x = np.array([[1.0, 5.0], [2.0, 5.0], [5.0, 5.0]])
    >>> scaler = MinMaxScaler(feature_range=(-1, 1)).fit(x)
    >>> scaler.transform_(x)
    >>> x
    array([[-1. , -1. ],
           [-0.5, -1. ],
           [ 1. , -1. ]])
    >>> scaler.inverse_transform(x)[:, 0]
    array([1., 2., 5.])
    """

    _options = ("feature_range", *Scaler._options)
    _assignable = Scaler._assignable | {"feature_range": unchecked}

    def __init__(
        self,
        *,
        feature_range: tuple[Real, Real] = (0.0, 1.0),
        nan: Literal["refuse", "ignore"] = "refuse",
        backend: Backend = None,
        num_threads: int | None = None,
    ) -> None:
        super().__init__(nan=nan, backend=backend, num_threads=num_threads)
        self.feature_range = feature_range

    @property
    def feature_range(self) -> tuple[float, float]:
        """What min and max become: lo and hi."""
        return self._feature_range

    @feature_range.setter
    def feature_range(self, given: tuple[Real, Real]) -> None:
        try:
            lo, hi = given
        except (TypeError, ValueError):
            raise TypeError(f"feature_range is {brief(given)}; expected two numbers, lo and hi") from None
        lo, hi = (_finite("feature_range", each) for each in (lo, hi))
        if not lo < hi:
            raise ValueError(f"feature_range is {(lo, hi)}; expected lo below hi")
        self._feature_range = (lo, hi)

    def _constants(self, real: type) -> tuple[Any, Any, Any, Any]:
        seen = self._seen()
        lo, hi = np.array(self.feature_range).astype(real).astype(np.float64)  # so that hi - lo is rounded only once
        return seen.min, seen.max.astype(real) - seen.min.astype(real), hi - lo, lo


class MeanNormalizer(Scaler):
    """Around the mean, by the range: each feature has mean 0, and its greatest value is 1 above its least.

        y = (x - mean) / (max - min)

    A constant feature becomes 0.

    Parameters
    ----------
    nan, backend, num_threads : optional
        See `fastopt.scaling`.

    Notes
    -----
    scikit-learn has none such.

    References
    ----------
    A. Ng, "Machine Learning", lecture "Gradient Descent in Practice I: Feature Scaling", 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.scaling import MeanNormalizer
    >>> x = np.array([[1.0], [2.0], [6.0]])
    >>> MeanNormalizer().fit(x).transform_(x)
    >>> x[:, 0]
    array([-0.4, -0.2,  0.6])
    """

    def _constants(self, real: type) -> tuple[Any, Any, Any, Any]:
        seen = self._seen()
        divisor: Any = seen.max.astype(real) - seen.min.astype(real)
        centre, shift = self._about_mean(divisor, real)
        return centre, divisor, 1.0, shift


class StandardScaler(Scaler):
    """To z-scores: each feature has mean 0 and standard deviation 1; or only one of both (mean 0: centering).

        y = (x - mean) / std

        std = sqrt(m2 / n), or, if unbiased, sqrt(m2 / (n - 1))     with m2 = sum((x - mean)^2)

    A constant feature becomes 0; with ``with_mean=False``, it stays as it is. Where std is below 1e-146, the squares
    are lost, and it is a ValueError: multiply x by a power of 2 before.

    Parameters
    ----------
    with_mean : bool
        False: no mean is subtracted.
    with_std : bool
        False: nothing is divided by, which is centering.
    unbiased : bool
        Whether the variance is divided by n - 1.
    nan, backend, num_threads : optional
        See `fastopt.scaling`.

    Notes
    -----
    scikit-learn's, whose options have the same names. It takes a feature for constant whose variance is below what
    rounding may have made of 0; here only one whose values are all equal is.

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr and K.-R. Mueller, "Efficient BackProp", 1998, section 4.3. To divide by the variance
    instead is a common mistake.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.scaling import StandardScaler
    >>> x = np.array([[1.0, 3.0], [2.0, 3.0], [3.0, 3.0], [6.0, 3.0]])
    >>> scaler = StandardScaler(with_std=False)
    >>> for batch in np.split(x, 2):
    ...     _ = scaler.partial_fit(batch)
    >>> scaler.transform_(x)
    >>> x[:, 0], scaler.mean, scaler.var
    (array([-2., -1.,  0.,  3.]), array([3., 3.]), array([3.5, 0. ]))
    """

    _options = ("with_mean", "with_std", "unbiased", *Scaler._options)
    _assignable = Scaler._assignable | dict.fromkeys(("with_mean", "with_std", "unbiased"), flag)

    def __init__(
        self,
        *,
        with_mean: bool = True,
        with_std: bool = True,
        unbiased: bool = False,
        nan: Literal["refuse", "ignore"] = "refuse",
        backend: Backend = None,
        num_threads: int | None = None,
    ) -> None:
        super().__init__(nan=nan, backend=backend, num_threads=num_threads)
        self.with_mean = with_mean
        self.with_std = with_std
        self.unbiased = unbiased

    def _constants(self, real: type) -> tuple[Any, Any, Any, Any]:
        seen = self._seen()
        divisor: Any = 1.0
        if self.with_std:
            self._expect_finite(seen.m2, "squares of their deviations")
            variance = seen.m2 / np.maximum(seen.count - self.unbiased, 1)
            divisor = np.sqrt(np.where(variance < LEAST_VARIANCE, 0, variance))
        if not self.with_mean:
            return 0.0, divisor, 1.0, 0.0
        centre, shift = self._about_mean(divisor, real)
        return centre, divisor, 1.0, shift


class MaxAbsScaler(Scaler):
    """By the greatest magnitude: each feature lies between -1 and 1, and zeros stay zeros.

        y = x / max(|x|)

    The value of the greatest magnitude becomes exactly 1 or -1. A feature that is all zeros stays so.

    Parameters
    ----------
    nan, backend, num_threads : optional
        See `fastopt.scaling`.

    Notes
    -----
    scikit-learn's.

    References
    ----------
    F. Pedregosa et al., "Scikit-learn: Machine Learning in Python", 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.scaling import MaxAbsScaler
    >>> x = np.array([[1.0, 0.0], [-4.0, 0.0]], dtype="float32")
    >>> MaxAbsScaler().fit(x).transform_(x)
    >>> x[:, 0]
    array([ 0.25, -1.  ], dtype=float32)
    """

    def _constants(self, real: type) -> tuple[Any, Any, Any, Any]:
        return 0.0, self._max_abs(), 1.0, 0.0

    def _is_constant(self) -> Any:
        return self._max_abs() == 0

    def _max_abs(self) -> Any:
        seen = self._seen()
        return np.maximum(np.abs(seen.min), np.abs(seen.max))


def _finite(name: str, given: Any) -> float:
    number: float = real_number(name, given, {name: ANY})
    if not ANY[0] <= number <= ANY[1]:
        raise ValueError(f"{name} has {number}; expected {ANY[2]}")
    return number
