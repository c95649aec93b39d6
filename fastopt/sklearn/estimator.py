"""The base classes of estimators that scale features independently: checks, parameters, copies and tags."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.sparsefuncs import inplace_column_scale
from sklearn.utils.validation import check_is_fitted

from fastopt.sklearn.affine import Affine, applied
from fastopt.sklearn.arrays import floats, transformed_floats

_Self = TypeVar("_Self", bound="ScalingEstimator")


class ScalingEstimator(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """A scaler whose features are scaled independently of each other."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"copy": ["boolean"]}

    #: Formats of sparse matrices that `fit` and `transform` accept.
    _fit_formats: ClassVar[tuple[str, ...]] = ()
    _transform_formats: ClassVar[tuple[str, ...]] = ()

    copy: bool

    def fit(self: _Self, X: Any, y: object = None) -> _Self:
        """Discard earlier statistics and fit X; return the scaler. y is ignored."""
        return self._fit(X, True)

    def partial_fit(self: _Self, X: Any, y: object = None) -> _Self:
        """Fit X in addition to earlier data; return the scaler. y is ignored."""
        return self._fit(X, not self._was_fitted())

    def transform(self, X: Any) -> Any:
        """Return X scaled, in a new array unless ``copy=False``."""
        return self._transform(X, self.copy)

    def inverse_transform(self, X: Any) -> Any:
        """Undo `transform`, up to rounding errors."""
        return self._inverse_transform(X, self.copy)

    def _was_fitted(self) -> bool:
        return hasattr(self, "n_samples_seen_")

    def _fit(self: _Self, X: Any, first: bool) -> _Self:
        self._validate_params()
        self._learn(floats(self, X, reset=first, formats=self._fit_formats), first)
        return self

    def _transform(self, X: Any, copy: bool) -> Any:
        check_is_fitted(self)
        array = floats(self, X, reset=False, formats=self._transform_formats, copy=copy)
        return self._scaled(array, X, copy, False)

    def _inverse_transform(self, X: Any, copy: bool) -> Any:
        check_is_fitted(self)
        array = transformed_floats(self, X, formats=self._transform_formats, copy=copy)
        return self._scaled(array, X, copy, True)

    def _scaled(self, array: Any, X: Any, copy: bool, inverse: bool) -> Any:
        return applied(self._affine(), self, array, X, copy=copy, inverse=inverse)

    @abstractmethod
    def _learn(self, array: Any, first: bool) -> None:
        """Set the fitted attributes, for the first batch or a further one."""

    @abstractmethod
    def _affine(self) -> Affine:
        """Return the arguments of the rule, from the fitted attributes."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = bool(self._fit_formats)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class SparseScalingEstimator(ScalingEstimator):
    """A scaler that also takes sparse matrices: it divides by ``scale_`` and leaves zeros as they are."""

    scale_: Any

    def _scaled(self, array: Any, X: Any, copy: bool, inverse: bool) -> Any:
        if not issparse(array):
            return super()._scaled(array, X, copy, inverse)
        if self.scale_ is not None:
            inplace_column_scale(array, self.scale_ if inverse else 1 / self.scale_)
        return array


def without_zeros(scale: NDArray[Any]) -> NDArray[Any]:
    """Return a scale to divide by: 1 for a feature below 10 roundings, which scikit-learn takes for constant."""
    return np.where(scale < 10 * np.finfo(scale.dtype).eps, scale.dtype.type(1), scale)
