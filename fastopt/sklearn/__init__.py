"""Feature scaling as scikit-learn estimators, which fit and transform with the kernels of `fastopt.scaling`.

>>> import numpy as np
>>> from sklearn.linear_model import LogisticRegression
>>> from sklearn.pipeline import make_pipeline
>>> from fastopt.sklearn import StandardScaler
>>> X = np.array([[1.0, 1000.0], [2.0, 1500.0], [3.0, 3000.0], [4.0, 3500.0]])
>>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, [0, 0, 1, 1])
>>> model.predict([[1.5, 1200.0], [3.5, 3200.0]]).tolist()
[0, 1]

What all of them share
======================
**The same classes.** `StandardScaler`, `MinMaxScaler` and `MaxAbsScaler` have the parameters, methods and fitted
attributes of the class of the same name in ``sklearn.preprocessing``, and the same results up to rounding; scikit-learn
has no `MeanNormalizer` and no ZCA `Whitener`. All work in pipelines, column transformers and searches, with ``clone``,
``set_output``, metadata routing and feature names.

**Input.** X can be an array, a list or a data frame, as in scikit-learn. float16, float32 and float64 are preserved;
all other types become float64. `MaxAbsScaler`, and `StandardScaler` with ``with_mean=False``, accept sparse matrices in
CSR or CSC format. For arrays of other libraries and on CUDA devices, use `fastopt.scaling`.

**Missing values.** ``fit`` ignores NaN and ``transform`` preserves it; an infinity is a ValueError. `Whitener` refuses
both.

**Threads and memory.** A call uses as many threads as ``fastopt.set_num_threads`` says. ``fit`` does not copy
X, and ``transform`` allocates only its result. With ``copy=False``, it writes into X if X is a writeable array of
floats.

Raises
------
ValueError
    scikit-learn does not accept X or a parameter, or the fitted statistics exceed the range of X's dtype.
TypeError
    X is sparse and the scaler accepts dense data only; or X is an array of another library and scikit-learn's array API
    dispatch is enabled.
sklearn.exceptions.NotFittedError
    The scaler was not fitted.
BackendUnavailable
    At import: scikit-learn is missing, or older than 1.6.
"""

from fastopt.errors import BackendUnavailable

try:
    from sklearn.utils.validation import validate_data  # noqa: F401
except ImportError as error:
    raise BackendUnavailable(
        f"fastopt.sklearn needs scikit-learn 1.6 or later ({error}); `pip install 'scikit-learn>=1.6'` installs it"
    ) from error

from fastopt.sklearn.maximum import MaxAbsScaler
from fastopt.sklearn.mean import MeanNormalizer
from fastopt.sklearn.ranges import MinMaxScaler
from fastopt.sklearn.standard import StandardScaler
from fastopt.sklearn.whitening import Whitener

__all__ = ["MaxAbsScaler", "MeanNormalizer", "MinMaxScaler", "StandardScaler", "Whitener"]

__dir__ = __all__.copy
