"""Whitening: features that are uncorrelated, each of variance 1."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeVar

from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from fastopt import scaling
from fastopt.sklearn.arrays import FLOATS, is_new

_Self = TypeVar("_Self", bound="Whitener")


class Whitener(TransformerMixin, BaseEstimator):
    """Make features uncorrelated, each of variance 1, by PCA or ZCA.

        z = W (x - mean)         with the covariance's eigenvectors U (columns) and eigenvalues s:

        PCA: W = diag(1 / sqrt(s + eps)) U^T,   by falling eigenvalue
        ZCA: W = U diag(1 / sqrt(s + eps)) U^T

    PCA is ``sklearn.decomposition.PCA(whiten=True)`` up to signs. scikit-learn has no ZCA, the whitening that changes X
    least.

    Parameters
    ----------
    method : {"zca", "pca"}, default="zca"
        Which of the two.
    n_components : int, default=None
        For PCA: the number of components with the largest eigenvalues that are kept. None keeps all. ZCA ignores it.
    eps : float >= 0, default=0.0
        Added to the eigenvalues. A singular covariance, of a constant feature for example, needs an eps above 0.
    copy : bool, default=True
        If False, `transform` writes into X where it can: where X is a writeable array of floats, and no components are
        left out.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        The mean of each feature.
    covariance_ : ndarray of shape (n_features, n_features)
        The covariance of the features, divided by n - 1.
    n_samples_seen_ : int
        The number of samples.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray, one name for each feature
        Names of the features, if X has names that are strings.

    See Also
    --------
    fastopt.scaling.Whitener : The same for other arrays, with mergeable statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.sklearn import Whitener
    >>> X = np.random.default_rng(0).normal(size=(100, 3)) @ [[3, 1, 0], [0, 1, 1], [0, 0, 5]]
    >>> z = Whitener(method="pca").fit_transform(X)
    >>> np.allclose(np.cov(z.T), np.eye(3))
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "method": [StrOptions({"zca", "pca"})],
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        "eps": [Interval(Real, 0, None, closed="left")],
        "copy": ["boolean"],
    }

    mean_: Any
    covariance_: Any
    n_samples_seen_: int
    _whitener: scaling.Whitener

    def __init__(
        self,
        *,
        method: Literal["zca", "pca"] = "zca",
        n_components: int | None = None,
        eps: float = 0.0,
        copy: bool = True,
    ) -> None:
        self.method = method
        self.n_components = n_components
        self.eps = eps
        self.copy = copy

    def fit(self: _Self, X: Any, y: object = None) -> _Self:
        """Discard earlier statistics and fit X; return the whitener. y is ignored."""
        return self._fit(X, True)

    def partial_fit(self: _Self, X: Any, y: object = None) -> _Self:
        """Fit X in addition to earlier data; return the whitener. y is ignored."""
        return self._fit(X, not hasattr(self, "n_samples_seen_"))

    def transform(self, X: Any) -> Any:
        """Return X whitened, in a new array unless ``copy=False``."""
        check_is_fitted(self)
        array = validate_data(self, X, reset=False, dtype=FLOATS)
        if self._may_overwrite(array, X):
            self._whitener.transform_(array)
            return array
        return self._whitener.transform(array)

    def inverse_transform(self, X: Any) -> Any:
        """Return X as it was before `transform`, up to rounding and components that are left out."""
        check_is_fitted(self)
        array = check_array(X, dtype=FLOATS, estimator=self, input_name="X")
        if self._may_overwrite(array, X):
            self._whitener.inverse_transform_(array)
            return array
        return self._whitener.inverse_transform(array)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names of the results: those of the features for ZCA, else "whitener0", "whitener1" and so on."""
        mixin = OneToOneFeatureMixin if self.method == "zca" else ClassNamePrefixFeaturesOutMixin
        return mixin.get_feature_names_out(self, input_features)

    def _fit(self: _Self, X: Any, first: bool) -> _Self:
        self._validate_params()
        array = validate_data(self, X, reset=first, dtype=FLOATS, ensure_min_samples=2 if first else 1)
        features = array.shape[1]
        components = self.n_components if self.method == "pca" else None
        if components is not None and components > features:
            raise ValueError(f"n_components is {components}; expected at most {features}, the number of features of X")
        whitener = scaling.Whitener(method=self.method, n_components=components, eps=self.eps)
        if not first:
            whitener.merge(self._whitener)
        self._whitener = whitener.partial_fit(array)
        self._n_features_out = components or features
        self.n_samples_seen_ = whitener.count
        self.mean_ = whitener.mean
        self.covariance_ = whitener.covariance
        return self

    def _may_overwrite(self, array: Any, X: Any) -> bool:
        writeable: bool = array.flags.writeable and (not self.copy or is_new(array, X))
        return writeable and self._n_features_out == self.n_features_in_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
