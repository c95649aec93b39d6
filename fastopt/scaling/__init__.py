"""Feature scaling: what is known of data is gathered in one pass, in one place or many, and applied in another.

>>> import numpy as np
>>> from fastopt.scaling import StandardScaler
>>> x = np.array([[1.0, 10.0], [2.0, 10.0], [3.0, 40.0]])
>>> scaler = StandardScaler().fit(x)
>>> scaler.transform_(x)
>>> x.mean(axis=0).round(12).tolist(), x.std(axis=0).round(12).tolist()
([0.0, 0.0], [1.0, 1.0])

What all scalers share
======================
**x** has samples by features: two axes. It is a NumPy array, `np.memmap` included, or any object with the buffer
protocol, DLPack or ``__cuda_array_interface__``, of float16, bfloat16, float32 or float64, in any layout: of the host's
memory, or of a CUDA device's (`Whitener`: of the host's only).

**Methods**

``fit(x, y=None)``, ``partial_fit(x, y=None)``, ``merge(other)``
    Read x; what they gather, in float64, is in the scaler. ``partial_fit`` adds a batch to those before, ``merge`` what
    another scaler has seen, in another process, say: scalers can be pickled. They return the scaler. y is ignored.
``fit_transform_(x, y=None)``
    ``fit``, then ``transform_``. With an error, neither x nor the scaler has changed.
``transform_(x)``, ``inverse_transform_(x)``
    Update x in place, and return None.
``transform(x, out=None)``, ``inverse_transform(x, out=None)``
    Read x, and return ``out``, or a new array of x's dtype and memory order; on a device, of x's kind.
``state_dict()``, ``load_state_dict(state)``
    Numbers, bools, strings and arrays, which ``np.savez(file, **state)`` saves, and from which a scaler goes on
    elsewhere with the same bits.

**Parameters**

nan : {"refuse", "ignore"}
    "refuse": a NaN or an infinity in x is a ValueError, with nothing written or fitted. To see that there is none, a
    transform reads x once before it writes. "ignore": a NaN counts for nothing in what is fitted, and a transform hands
    NaN and infinities on, each in its own place. What is fitted may have an infinity in neither case.
backend : {"cython", "numba", "cuda", "reference"}, optional
    Who compiles the kernels: "cython" is what None means for arrays of the host, and "cuda" all that there is for those
    of a device. "reference" is the plain formula in NumPy and float64, for checks: it needs memory for copies, and does
    not write bfloat16 that comes through DLPack.
num_threads : int, optional
    At most so many threads; a small array takes one.
stream : optional, of each method
    The CUDA stream of device arrays, as for updates (`fastopt.updates`). What is fitted is on the host: ``fit`` and
    ``partial_fit`` wait for the device, and so does a transform that looks for NaN (``nan="refuse"``). With
    ``nan="ignore"`` it returns when its kernels are in the stream.

**Constant features**, whose values are all equal, keep their size and become 0 (`MinMaxScaler`: lo; `StandardScaler`
with ``with_mean=False``: they stay). `MaxAbsScaler` has no use for that, but for zeros, which stay zeros. `Whitener`
refuses them, unless its eps is above 0. A feature of which ``nan="ignore"`` has seen no value becomes NaN; with
``nan="refuse"``, which takes one over only from another scaler, it is a ValueError.

**The same bits**: what is gathered and written does not depend on threads, layout, instruction set and backend. Sums
are float64, of deviations from a value of the feature's own. They do depend on how data is cut into batches, in the
last bits, and on the order in which these are merged, but not on where they were fitted. `Whitener` leaves its sums to
BLAS.

Raises
------
ValueError
    x has other than two axes, no samples to fit, or other features than were fitted; is misaligned, or overlaps ``out``
    or itself, or is elsewhere than it; has a NaN or infinity, as above; a backend or a stream is not of where x is, or
    the stream is captured and would have to be waited for. What was fitted can't be scaled by in the dtype computed in:
    a range, or a distance from the mean, above 3.4e38 in float32, say.
fastopt.scaling.NotFittedError
    A ValueError: there is nothing to transform by, or to merge.
TypeError
    x is no array, or of another dtype, integers included; what is to be written is read-only; there is no ``out``, and
    x is an array of bfloat16 on a device, but not PyTorch's.
fastopt.BackendUnavailable
    The backend can't run here; or a `Whitener` is to read an array of a CUDA device.
"""

from fastopt.errors import NotFittedError
from fastopt.scaling.features import MaxAbsScaler, MeanNormalizer, MinMaxScaler, StandardScaler
from fastopt.scaling.whitening import Whitener

__all__ = ["MaxAbsScaler", "MeanNormalizer", "MinMaxScaler", "NotFittedError", "StandardScaler", "Whitener"]

__dir__ = __all__.copy
