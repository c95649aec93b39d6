"""Mean normalization: each feature around its mean, by its range."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.sklearn.affine import Affine
from fastopt.sklearn.arrays import column_stats
from fastopt.sklearn.estimator import ScalingEstimator
from fastopt.sklearn.moments import Moments
from fastopt.sklearn.ranges import subtracted


class MeanNormalizer(ScalingEstimator):
    """Subtract the mean of each feature, and divide by its range.

        z = (x - mean) / (max - min)

    scikit-learn has no such scaler. A constant feature becomes 0.

    Parameters
    ----------
    copy : bool, default=True
        If False, `transform` writes into X if X is a writeable array of floats.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        The mean of each feature.
    data_min_, data_max_ : ndarray of shape (n_features,)
        The minimum and the maximum of each feature.
    data_range_ : ndarray of shape (n_features,)
        ``data_max_ - data_min_``.
    scale_ : ndarray of shape (n_features,)
        Divisor of each feature.
    n_samples_seen_ : int or ndarray of shape (n_features,)
        The number of values of each feature; one number where it is the same for all.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray, one name for each feature
        Names of the features, if X has names that are strings.

    See Also
    --------
    fastopt.scaling.MeanNormalizer : The same for arrays of other libraries and devices, with mergeable statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.sklearn import MeanNormalizer
    >>> MeanNormalizer().fit_transform(np.array([[1.0], [2.0], [6.0]]))[:, 0]
    array([-0.4, -0.2,  0.6])
    """

    mean_: Any
    data_min_: Any
    data_max_: Any
    data_range_: Any
    scale_: Any
    n_samples_seen_: Any

    def __init__(self, *, copy: bool = True) -> None:
        self.copy = copy

    def _learn(self, array: Any, first: bool) -> None:
        count, mean, _, lowest, highest = column_stats(self, array)
        lowest, highest = (np.where(count > 0, each, np.nan).astype(array.dtype) for each in (lowest, highest))
        found = Moments(count.astype(np.int64), np.where(count > 0, mean, np.nan), np.zeros_like(mean))
        if not first:
            found = Moments.of_fitted(self.n_samples_seen_, self.mean_, None, array.shape[1]).merged(found)
            lowest, highest = np.fmin(self.data_min_, lowest), np.fmax(self.data_max_, highest)
        found.check(with_std=False)
        self.n_samples_seen_ = found.count[0] if found.count.max() == found.count.min() else found.count
        self.mean_ = found.mean
        self.data_min_, self.data_max_ = lowest, highest
        self.data_range_ = subtracted(highest, lowest)
        self.scale_ = np.where(self.data_range_ == 0, 1, self.data_range_)

    def _affine(self) -> Affine:
        return Affine(self.mean_, self.scale_)
