"""Min-max scaling: each feature to a range."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastopt.sklearn.affine import Affine
from fastopt.sklearn.arrays import column_stats
from fastopt.sklearn.estimator import ScalingEstimator, without_zeros


class MinMaxScaler(ScalingEstimator):
    """Scale each feature to a range: its minimum becomes lo, its maximum hi.

        z = (x - min) / (max - min) * (hi - lo) + lo

    A drop-in replacement of ``sklearn.preprocessing.MinMaxScaler``. A feature whose range is below 10 roundings of its
    dtype is taken for constant, and not divided.

    Parameters
    ----------
    feature_range : tuple (lo, hi), default=(0, 1)
        The range.
    copy : bool, default=True
        If False, `transform` writes into X if X is a writeable array of floats.
    clip : bool, default=False
        Whether to clip the result to the range.

    Attributes
    ----------
    data_min_, data_max_ : ndarray of shape (n_features,)
        The minimum and the maximum of each feature.
    data_range_ : ndarray of shape (n_features,)
        ``data_max_ - data_min_``.
    scale_, min_ : ndarray of shape (n_features,)
        What each feature is multiplied by, and what is added then: ``z = x * scale_ + min_``, up to rounding.
    n_samples_seen_ : int
        The number of samples.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray, one name for each feature
        Names of the features, if X has names that are strings.

    See Also
    --------
    fastopt.scaling.MinMaxScaler : The same for arrays of other libraries and devices, with mergeable statistics.

    Notes
    -----
    `transform` computes the formula above, in which a minimum far from 0 costs no digits. Where ``scale_`` or ``min_``
    are assigned, or ``feature_range`` is another than was fitted, it computes ``x * scale_ + min_``, as scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.sklearn import MinMaxScaler
    >>> X = np.array([[-1.0, 2.0], [-0.5, 6.0], [0.0, 10.0], [1.0, 18.0]])
    >>> scaler = MinMaxScaler().fit(X)
    >>> scaler.data_max_
    array([ 1., 18.])
    >>> scaler.transform([[0.0, 10.0], [2.0, 2.0]])
    array([[0.5, 0.5],
           [1.5, 0. ]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "feature_range": [tuple],
        "copy": ["boolean"],
        "clip": ["boolean"],
    }

    data_min_: Any
    data_max_: Any
    data_range_: Any
    scale_: Any
    min_: Any
    n_samples_seen_: int

    def __init__(self, feature_range: tuple[float, float] = (0, 1), *, copy: bool = True, clip: bool = False) -> None:
        self.feature_range = feature_range
        self.copy = copy
        self.clip = clip

    def transform(self, X: Any) -> Any:
        """Return X scaled, in a new array unless ``copy=False``."""
        made = self._transform(X, self.copy)
        if self.clip:
            np.clip(made, *self.feature_range, out=made)
        return made

    def _learn(self, array: Any, first: bool) -> None:
        lo, hi = self.feature_range
        if not lo < hi:
            raise ValueError(
                f"Minimum of desired feature range must be smaller than maximum. Got {self.feature_range}."
            )
        count, _, _, lowest, highest = column_stats(self, array)
        lowest, highest = (np.where(count > 0, each, np.nan).astype(array.dtype) for each in (lowest, highest))
        samples = array.shape[0]
        if not first:
            lowest, highest = np.fmin(self.data_min_, lowest), np.fmax(self.data_max_, highest)
            samples += self.n_samples_seen_
        self.n_samples_seen_ = samples
        self.data_min_, self.data_max_ = lowest, highest
        with np.errstate(over="ignore"):
            self.data_range_ = highest - lowest
        self.scale_, self.min_ = self._expected()

    def _expected(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return ``scale_`` and ``min_`` as they follow from the other attributes."""
        lo, hi = np.asarray(self.feature_range, self.data_range_.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            scale = (hi - lo) / without_zeros(self.data_range_)
            return scale, lo - self.data_min_ * scale

    def _affine(self) -> Affine:
        if hasattr(self, "data_range_") and all(map(_same, (self.scale_, self.min_), self._expected())):
            lo, hi = np.asarray(self.feature_range, self.data_range_.dtype).astype(np.float64)
            divisor = subtracted(self.data_max_, self.data_min_)
            divisor[without_zeros(self.data_range_) != self.data_range_] = 1
            return Affine(self.data_min_, divisor, hi - lo, lo)
        return Affine(factor=self.scale_, shift=self.min_)


def subtracted(highest: NDArray[Any], lowest: NDArray[Any]) -> NDArray[Any]:
    """Return the range of each feature, rounded as the kernels round a difference: that of float16 in float32."""
    real = np.promote_types(highest.dtype, np.float32)
    with np.errstate(over="ignore"):
        difference: NDArray[Any] = highest.astype(real) - lowest.astype(real)
    return difference


def _same(given: Any, expected: NDArray[Any]) -> bool:
    """Return whether an attribute has the bits that it was given by a fit."""
    array = np.asarray(given)
    return array.dtype == expected.dtype and array.tobytes() == expected.tobytes()
