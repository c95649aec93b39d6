"""Feature scaling: scalers fit statistics of data in one pass, in one process or several, and then transform data.

>>> import numpy as np
>>> from fastopt.scaling import StandardScaler
>>> x = np.array([[1.0, 10.0], [2.0, 10.0], [3.0, 40.0]])
>>> scaler = StandardScaler().fit(x)
>>> scaler.transform_(x)
>>> x.mean(axis=0).round(12).tolist(), x.std(axis=0).round(12).tolist()
([0.0, 0.0], [1.0, 1.0])

What all scalers share
======================
**x** has two axes: samples and features. It is a NumPy array, `np.memmap` included, or any object with the buffer
protocol, DLPack or ``__cuda_array_interface__``. It may be float16, bfloat16, float32 or float64, in any memory layout,
and in host memory or on a CUDA device (`Whitener`: in host memory only).

**Methods**

``fit(x, y=None)``, ``partial_fit(x, y=None)``, ``merge(other)``
    Read x and store statistics in float64. ``partial_fit`` adds a batch to earlier ones; ``merge`` adds the data of
    another scaler, for example of another process: scalers can be pickled. They return the scaler. y is ignored.
``fit_transform_(x, y=None)``
    ``fit``, then ``transform_``. After an error, neither x nor the scaler has changed.
``transform_(x)``, ``inverse_transform_(x)``
    Update x in place, and return None.
``transform(x, out=None)``, ``inverse_transform(x, out=None)``
    Read x, and return ``out``, or a new array of x's dtype and memory order; on a device, of x's kind.
``state_dict()``, ``load_state_dict(state)``
    Numbers, bools, strings and arrays, which ``np.savez(file, **state)`` saves. A scaler that loads them continues
    with the same bits.

**Parameters**

nan : {"refuse", "ignore"}
    With "refuse", a NaN or an infinity in x raises ValueError before anything is written or fitted; to check this, a
    transform reads x once before it writes. With "ignore", fitting omits NaN, and a transform leaves each NaN and
    infinity as it is. In both cases, fitting refuses infinities.
backend : {"cython", "numba", "cuda", "reference"}, optional
    Compiler of the kernels. None means "cython" for host arrays, and "cuda", the only one available, for device
    arrays. "reference" evaluates the plain formula with NumPy in float64, for tests: it copies the arrays, and cannot
    write bfloat16 that comes through DLPack.
num_threads : int, optional
    Maximum number of threads; small arrays use one.
stream : optional, of each method
    The CUDA stream of device arrays, as for updates (`fastopt.updates`). Statistics are on the host: ``fit`` and
    ``partial_fit`` wait for the device, and so does a transform with ``nan="refuse"``. With ``nan="ignore"``, a
    transform returns once its kernels are enqueued.

**Constant features**, whose values are all equal, are not rescaled and become 0 (`MinMaxScaler`: lo; `StandardScaler`
with ``with_mean=False``: no change). For `MaxAbsScaler`, this concerns only features of zeros, which stay zeros.
`Whitener` refuses constant features unless eps is above 0. With ``nan="ignore"``, a feature without values becomes
NaN. With ``nan="refuse"``, such a feature can only come from another scaler, and raises ValueError.

**The same bits**: statistics and results do not depend on threads, memory layout, instruction set or backend. Sums are
in float64, of deviations from one value of the feature. The last bits depend on how data is divided into batches and
on the order in which these are merged, but not on where they were fitted. `Whitener` computes its sums with
BLAS, which gives no such guarantee.

Raises
------
ValueError
    x does not have two axes, has no samples to fit, or has other features than were fitted; x is misaligned, overlaps
    itself or ``out``, or is on another device than ``out``; x has a NaN or infinity, as above; the backend or stream
    does not match x's device, or the stream is being captured and the call would have to wait for it; or scaling in
    the compute type is impossible, such as with a range or a distance from the mean above 3.4e38 in float32.
fastopt.scaling.NotFittedError
    A ValueError: the scaler to transform by, or to merge, has not been fitted.
TypeError
    x is not an array, or has another dtype, such as integers; the array to write is read-only; ``out`` is missing and x
    is a bfloat16 device array that is not PyTorch's.
fastopt.BackendUnavailable
    The backend cannot run here; or a `Whitener` is given an array on a CUDA device.
"""

from fastopt.errors import NotFittedError
from fastopt.scaling.features import MaxAbsScaler, MeanNormalizer, MinMaxScaler, StandardScaler
from fastopt.scaling.whitening import Whitener

__all__ = ["MaxAbsScaler", "MeanNormalizer", "MinMaxScaler", "NotFittedError", "StandardScaler", "Whitener"]

__dir__ = __all__.copy
