"""Scaling by the greatest magnitude: each feature to the range from -1 to 1, with zeros kept."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.sparsefuncs import min_max_axis

from fastopt.sklearn.affine import Affine
from fastopt.sklearn.arrays import column_stats
from fastopt.sklearn.estimator import SparseScalingEstimator, without_zeros


class MaxAbsScaler(SparseScalingEstimator):
    """Divide each feature by its greatest absolute value.

        z = x / max(abs(x))

    A drop-in replacement of ``sklearn.preprocessing.MaxAbsScaler``. Zeros stay zeros, so that sparse matrices stay
    sparse. A feature whose greatest magnitude is below 10 roundings of its dtype is not divided.

    Parameters
    ----------
    copy : bool, default=True
        If False, `transform` writes into X if X is a writeable array of floats.
    clip : bool, default=False
        Whether to clip the result to the range from -1 to 1.

    Attributes
    ----------
    max_abs_ : ndarray of shape (n_features,)
        The greatest absolute value of each feature.
    scale_ : ndarray of shape (n_features,)
        Divisor of each feature.
    n_samples_seen_ : int
        The number of samples.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray, one name for each feature
        Names of the features, if X has names that are strings.

    See Also
    --------
    fastopt.scaling.MaxAbsScaler : The same for arrays of other libraries and devices, with mergeable statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.sklearn import MaxAbsScaler
    >>> X = np.array([[1.0, -10.0], [-4.0, 0.0], [2.0, 5.0]])
    >>> MaxAbsScaler().fit_transform(X)
    array([[ 0.25, -1.  ],
           [-1.  ,  0.  ],
           [ 0.5 ,  0.5 ]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"copy": ["boolean"], "clip": ["boolean"]}
    max_abs_: Any
    n_samples_seen_: int

    _fit_formats = _transform_formats = ("csr", "csc")

    def __init__(self, *, copy: bool = True, clip: bool = False) -> None:
        self.copy = copy
        self.clip = clip

    def transform(self, X: Any) -> Any:
        """Return X scaled, in a new array unless ``copy=False``."""
        made = self._transform(X, self.copy)
        if self.clip:
            values = made.data if issparse(made) else made
            np.clip(values, -1, 1, out=values)
        return made

    def _learn(self, array: Any, first: bool) -> None:
        if issparse(array):
            lowest, highest = min_max_axis(array, axis=0, ignore_nan=True)
        else:
            count, _, _, lowest, highest = column_stats(self, array)
            lowest, highest = (np.where(count > 0, each, np.nan) for each in (lowest, highest))
        max_abs = np.maximum(np.abs(lowest), np.abs(highest)).astype(array.dtype)
        samples = array.shape[0]
        if not first:
            max_abs = np.fmax(self.max_abs_, max_abs)
            samples += self.n_samples_seen_
        self.n_samples_seen_ = samples
        self.max_abs_ = max_abs
        self.scale_ = without_zeros(max_abs)

    def _affine(self) -> Affine:
        return Affine(divisor=self.scale_)
