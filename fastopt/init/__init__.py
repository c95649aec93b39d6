"""In-place initialisation of parameters from a seed, with the same values on every platform.

What all functions share
========================
**In place.** param is the caller's own array. All of its elements are written, and None is returned. Everything is
checked before anything is written.

**Arrays** are of the kinds that updates take (`fastopt.updates`), of any shape and strides.

**The same values everywhere.** An element's value depends only on seed, offset and the element's position in C order:
not on strides, threads, instruction set, backend or device, nor on earlier calls. 16-bit arrays have the values of a
float32 array, rounded. The values of a float64 array have the same random bits as those of a float32 array, and more
of them, so they are close to these.

**seed** is an integer from 0 to 2**64 - 1 and has no default. **offset**, from 0 to 2**56 - 1, distinguishes arrays
with the same seed: give each parameter of a model its own, such as its position; otherwise, parameters of the same
shape are equal. Arrays with the same seed and offset start with the same random bits, for any distribution. These bits
differ from those of dropout and stochastic rounding. docs/randomness.md describes how values are computed from bits.

**Fans.** A unit of a layer has fan_in inputs, and an input is connected to fan_out units. Both are derived from param's
shape and ``layout``:

    "torch"     (out, in, *kernel)      fan_in = in * prod(kernel)      fan_out = out * prod(kernel)
    "keras"     (*kernel, in, out)      the same

``fan_in=`` and ``fan_out=``, integers >= 1, replace these values: for shapes that follow neither layout, grouped or
transposed convolutions. A shape with fewer than two axes has no fans; an empty array needs none.

**backend, num_threads, stream** are those of updates: see `fastopt.updates`. A call returns once its kernel is
enqueued, without waiting for it.

Raises
------
ValueError
    param is misaligned or overlaps itself; a number is out of its range, or not finite in the compute type; the shape
    has no fans and none are given; layout, mode or backend is unknown; the backend or stream does not match param's
    device.
TypeError
    param is not an array, has another dtype or byte order, or is read-only; a number is not real, or seed, offset or a
    fan is not an integer.
BackendUnavailable
    The backend cannot run here.

Differences from PyTorch and Keras
----------------------------------
Both draw from a generator with state, so a value depends on all earlier draws. PyTorch's names are ``kaiming_*`` for
``he_*``. Its ``trunc_normal_`` has absolute bounds. Keras' Glorot, He and LeCun "normal" initialisers draw truncated
normal numbers, with a larger std to compensate; these functions, like PyTorch's, do not truncate.

Examples
--------
>>> import numpy as np
>>> from fastopt import init
>>> layers = [np.empty((128, 64), np.float32), np.empty((10, 128), np.float32)]
>>> for position, weight in enumerate(layers):
...     init.he_normal_(weight, seed=7, offset=position)
>>> bool(abs(layers[0].std() - (2 / 64) ** 0.5) < 0.005)
True
"""

from fastopt.init.distributions import normal_, truncated_normal_, uniform_
from fastopt.init.scaled import he_normal_, he_uniform_, lecun_normal_, xavier_normal_, xavier_uniform_

__all__ = [
    "he_normal_",
    "he_uniform_",
    "lecun_normal_",
    "normal_",
    "truncated_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
]

__dir__ = __all__.copy
