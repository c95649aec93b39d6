"""From what a caller passes as X to an array of floats, and whether that array may be written to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from fastopt.engine.scaling import scaling as columns

#: dtypes that are kept; all others become the first.
FLOATS = [np.float64, np.float32, np.float16]


def floats(estimator: Any, X: Any, *, reset: bool, formats: tuple[str, ...] = (), copy: bool = False) -> Any:
    """Return X as an array of floats, or as a sparse matrix of one of the formats.

    A dense array may still have infinities: the kernels find them faster than scikit-learn does. ``copy`` applies to
    sparse matrices; dense arrays are copied by what writes the result.
    """
    return _checked(estimator, X, formats, copy, lambda **checks: validate_data(estimator, X, reset=reset, **checks))


def transformed_floats(estimator: Any, X: Any, *, formats: tuple[str, ...] = (), copy: bool = False) -> Any:
    """Return the same of an X that was transformed before, whose features may have other names."""
    return _checked(
        estimator, X, formats, copy, lambda **checks: check_array(X, estimator=estimator, input_name="X", **checks)
    )


def _checked(estimator: Any, X: Any, formats: tuple[str, ...], copy: bool, check: Any) -> Any:
    if get_config()["array_api_dispatch"] and hasattr(X, "__dlpack__") and not isinstance(X, np.ndarray):
        raise TypeError(
            f"X is a {type(X).__module__}.{type(X).__name__}; expected a NumPy array, or array_api_dispatch=False, "
            "which converts it"
        )
    sparse = issparse(X)
    array = check(
        accept_sparse=list(formats) or False,
        dtype=FLOATS,
        ensure_all_finite="allow-nan" if sparse else False,
        copy=copy and sparse,
        force_writeable=copy and sparse,
    )
    if sparse:
        return array
    return array if array.flags.aligned else array.copy()


def is_new(array: NDArray[Any], X: Any) -> bool:
    """Return whether an array was made from X by copying; False where that is not known."""
    if isinstance(X, np.ndarray):
        return not np.may_share_memory(array, X)
    if type(X).__module__.partition(".")[0] == "pandas":
        dtypes = {*getattr(X, "dtypes", [array.dtype])}
        return dtypes != {array.dtype} and all(isinstance(dtype, np.dtype) for dtype in dtypes)
    return isinstance(X, (list, tuple))


def column_stats(estimator: Any, array: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
    """Return count, mean, sum of squared deviations, minimum and maximum of each feature, without NaN."""
    try:
        return columns.column_stats(array, None, False, None, None, None)
    except ValueError:
        assert_all_finite(array, allow_nan=True, estimator_name=type(estimator).__name__, input_name="X")
        raise


def refuse_infinity(estimator: Any, array: NDArray[Any], finite: bool) -> None:
    """Raise scikit-learn's error for an infinity in an array that may not be finite; NaN is allowed."""
    if not finite and not get_config()["assume_finite"]:
        column_stats(estimator, array)
