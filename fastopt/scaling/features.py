"""Scalers that treat each feature separately: to a range, or to a given mean and standard deviation."""

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
    """Scale to a range: the minimum of each feature becomes lo, the maximum becomes hi.

        y = (x - min) / (max - min) * (hi - lo) + lo

    min becomes exactly lo. max becomes exactly hi if lo is 0; otherwise its error is that of rounding (hi - lo), at
    most 1 ulp of the larger of abs(lo) and abs(hi), which is many ulp of hi if hi is small. No value between them
    becomes more than max does, or less than lo. A constant feature becomes lo.

    Parameters
    ----------
    feature_range : (float, float)
        lo and hi; hi is the greater.
    nan, backend, num_threads : optional
        See `fastopt.scaling`.

    Notes
    -----
    scikit-learn multiplies by ``(hi - lo) / (max - min)``, so max may differ from hi by several roundings. scikit-learn
    has ``clip``; here, values outside the fitted range are transformed to values outside feature_range.

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
        """The range (lo, hi) after the transform."""
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
    """Subtract the mean and divide by the range: each feature has mean 0, and its maximum is 1 above its minimum.

        y = (x - mean) / (max - min)

    A constant feature becomes 0.

    Parameters
    ----------
    nan, backend, num_threads : optional
        See `fastopt.scaling`.

    Notes
    -----
    scikit-learn does not have this scaler.

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
    """Compute z-scores: each feature has mean 0 and standard deviation 1, or only one of the two.

        y = (x - mean) / std

        std = sqrt(m2 / n), or, if unbiased, sqrt(m2 / (n - 1))     with m2 = sum((x - mean)^2)

    A constant feature becomes 0; with ``with_mean=False``, it does not change. If std is below 1e-146, the squares
    underflow, which raises ValueError: multiply x by a power of 2 first.

    Parameters
    ----------
    with_mean : bool
        Whether to subtract the mean.
    with_std : bool
        Whether to divide by the standard deviation. If False, x is only centered.
    unbiased : bool
        Whether to divide m2 by n - 1 instead of n.
    nan, backend, num_threads : optional
        See `fastopt.scaling`.

    Notes
    -----
    As in scikit-learn, whose options have the same names. scikit-learn treats a feature as constant if its variance is
    within the rounding error of 0; here, all of its values must be equal.

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr and K.-R. Mueller, "Efficient BackProp", 1998, section 4.3. Dividing by the variance
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
    """Divide by the largest magnitude: each feature is between -1 and 1, and zeros stay zeros.

        y = x / max(|x|)

    The value of the largest magnitude becomes exactly 1 or -1. A feature of zeros does not change.

    Parameters
    ----------
    nan, backend, num_threads : optional
        See `fastopt.scaling`.

    Notes
    -----
    As in scikit-learn.

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
