"""Z-scores: each feature to mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import _check_sample_weight

from fastopt.sklearn.affine import Affine
from fastopt.sklearn.arrays import floats
from fastopt.sklearn.callbacks import CallbackSupportMixin, fit_task, with_callbacks
from fastopt.sklearn.estimator import SparseScalingEstimator
from fastopt.sklearn.moments import Moments, moments

_Self = TypeVar("_Self", bound="StandardScaler")


class StandardScaler(CallbackSupportMixin, SparseScalingEstimator):
    """Standardize features by subtracting the mean and dividing by the standard deviation.

        z = (x - mean) / sqrt(var)

    A drop-in replacement of ``sklearn.preprocessing.StandardScaler``. A feature that is constant, or whose variance is
    below what rounding may have made of 0, is not divided.

    Parameters
    ----------
    copy : bool, default=True
        If False, `transform` writes into X if X is a writeable array of floats.
    with_mean : bool, default=True
        Whether to subtract the mean. A sparse X needs False.
    with_std : bool, default=True
        Whether to divide by the standard deviation.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,) or None
        The mean of each feature; None if both ``with_mean`` and ``with_std`` are False.
    var_ : ndarray of shape (n_features,) or None
        The variance of each feature, divided by n; None if ``with_std`` is False.
    scale_ : ndarray of shape (n_features,) or None
        What each feature is divided by; None if ``with_std`` is False.
    n_samples_seen_ : int or ndarray of shape (n_features,)
        The number of values of each feature, or their total weight; one number where it is the same for all.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray, one name for each feature
        Names of the features, if X has names that are strings.

    See Also
    --------
    fastopt.scaling.StandardScaler : The same for arrays of other libraries and devices, with mergeable statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.sklearn import StandardScaler
    >>> X = np.array([[0.0, 10.0], [0.0, 10.0], [1.0, 30.0], [1.0, 30.0]])
    >>> scaler = StandardScaler().fit(X)
    >>> scaler.mean_
    array([ 0.5, 20. ])
    >>> scaler.transform(X)[1:3]
    array([[-1., -1.],
           [ 1.,  1.]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "copy": ["boolean"],
        "with_mean": ["boolean"],
        "with_std": ["boolean"],
    }
    mean_: Any
    var_: Any
    n_samples_seen_: Any

    _fit_formats = ("csr", "csc")
    _transform_formats = ("csr",)

    def __init__(self, *, copy: bool = True, with_mean: bool = True, with_std: bool = True) -> None:
        self.with_mean = with_mean
        self.with_std = with_std
        self.copy = copy

    def fit(self: _Self, X: Any, y: object = None, sample_weight: Any = None) -> _Self:
        """Discard earlier statistics and fit X, with a weight for each sample if given; return the scaler."""
        self._fit_weighted(X, y, sample_weight, True)
        return self

    def partial_fit(self: _Self, X: Any, y: object = None, sample_weight: Any = None) -> _Self:
        """Fit X in addition to earlier data; return the scaler. y is ignored."""
        self._fit_weighted(X, y, sample_weight, not self._was_fitted())
        return self

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        """Return X scaled; ``copy`` overrides the parameter of the class."""
        return self._transform(X, self.copy if copy is None else copy)

    def inverse_transform(self, X: Any, copy: bool | None = None) -> Any:
        """Undo `transform`, up to rounding errors."""
        return self._inverse_transform(X, self.copy if copy is None else copy)

    @with_callbacks  # type: ignore[untyped-decorator]
    def _fit_weighted(self, X: Any, y: object, sample_weight: Any, first: bool) -> None:
        self._validate_params()
        array = floats(self, X, reset=first, formats=self._fit_formats)
        with fit_task(self, array, y, sample_weight=sample_weight):
            weights = None
            if sample_weight is not None:
                weights = _check_sample_weight(sample_weight, array, dtype=np.float64)
            self._learn(array, first, weights)

    def _learn(self, array: Any, first: bool, weights: NDArray[np.float64] | None = None) -> None:
        if issparse(array):
            self._refuse_centering()
            found = _sparse_moments(array, weights)
        else:
            found = moments(self, array, weights)
        if not first:
            before = Moments.of_fitted(self.n_samples_seen_, self.mean_, self.var_, array.shape[1])
            found = before.merged(found)
        found.check(self.with_std)
        count = found.count
        self.n_samples_seen_ = count[0] if count.max() == count.min() else count
        self.mean_ = found.mean if self.with_mean or self.with_std else None
        self.var_ = self.scale_ = None
        if self.with_std:
            self.var_ = found.var
            self.scale_ = np.where(found.is_constant(), 1.0, np.sqrt(self.var_))

    def _affine(self) -> Affine:
        centre = self._fitted("mean_") if self.with_mean else 0.0
        return Affine(centre, self._fitted("scale_") if self.with_std else 1.0)

    def _scaled(self, array: Any, X: Any, copy: bool, inverse: bool) -> Any:
        if issparse(array):
            self._refuse_centering()
        return super()._scaled(array, X, copy, inverse)

    def _fitted(self, name: str) -> Any:
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"{name} is None; expected fit with the present parameters, {self}")
        return value

    def _refuse_centering(self) -> None:
        if self.with_mean:
            raise ValueError("Cannot center sparse matrices: pass `with_mean=False` instead.")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.with_mean
        return tags


def _sparse_moments(matrix: Any, weights: NDArray[np.float64] | None) -> Moments:
    typed = None if weights is None else weights.astype(matrix.dtype)
    mean, var, count = mean_variance_axis(matrix, axis=0, weights=typed, return_sum_weights=True)
    mean, var, count = (each.astype(np.float64) for each in (mean, var, count))
    m2 = np.where(count == 0, 0.0, var * count)
    return Moments(count.astype(np.int64) if weights is None else count, mean, m2)
