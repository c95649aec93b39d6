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

**Input.** X is what scikit-learn takes: arrays, lists and data frames. float16, float32 and float64 keep their dtype;
integers and everything else become float64. Sparse matrices in CSR or CSC format are taken by `MaxAbsScaler`, and by
`StandardScaler` with ``with_mean=False``. For arrays of other libraries and of CUDA devices there is `fastopt.scaling`.

**Missing values.** NaN is disregarded in ``fit`` and kept in ``transform``; an infinity is a ValueError. `Whitener`
refuses both.

**Threads and memory.** A call uses as many threads as ``fastopt.set_num_threads`` says. A fit makes no copy of X, and a
transform makes only its result; with ``copy=False`` it writes into X, where X is a writeable array of floats.

Raises
------
ValueError
    X or a parameter is not what scikit-learn takes, or what was fitted cannot be used in the dtype of X.
TypeError
    X is sparse, and the scaler takes dense data only; or X is an array of another library, and scikit-learn's array API
    dispatch is on.
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
