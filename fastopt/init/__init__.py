"""Initialisation of parameters, in place: seeded, and the same values everywhere.

What all of these share
=======================
**In place.** param is the caller's own array; all of it is written, and None is returned. Nothing is written before
everything is checked.

**Arrays** are of the kinds that updates take (`fastopt.updates`), of any shape and strides.

**The same values everywhere.** An element's value follows from seed, offset and its place in C order, and from nothing
else: not from strides, threads, instruction set, backend or device, nor from what was drawn before. 16-bit arrays have
the values of a float32 array, rounded. A float64 array has values of its own precision, near those of float32: it has
the same random bits, and more.

**seed** is a whole number from 0 to 2**64 - 1, and has no default. **offset**, from 0 to 2**56 - 1, tells arrays of one
seed apart: give each parameter of a model its own, such as its position, or else parameters of one shape are equal.
Arrays with the same seed and offset begin with the same random numbers, of whichever distribution. None of them are
those of dropout or of stochastic rounding. docs/randomness.md says how numbers follow from bits.

**Fans.** A unit of a layer sums over fan_in inputs, and an input reaches fan_out units. They follow from param's shape,
by ``layout``:

    "torch"     (out, in, *kernel)      fan_in = in * prod(kernel)      fan_out = out * prod(kernel)
    "keras"     (*kernel, in, out)      the same

and ``fan_in=`` and ``fan_out=``, whole numbers of 1 or more, take their place: for shapes that follow neither, groups
of channels, or transposed convolutions. A shape with fewer than two axes has no fans; an empty array needs none.

**backend, num_threads, stream** are those of updates: see `fastopt.updates`. A call returns when its kernel is in the
stream, and nothing waits.

Raises
------
ValueError
    param is misaligned or overlaps itself; a number is out of its range, or not finite in the type that is computed in;
    the shape has no fans, and none are given; layout, mode or backend is unknown; the backend or a stream is not of
    where param is.
TypeError
    param is no array, of another dtype or byte order, or read-only; a number is not a real one, or seed, offset or a
    fan is not a whole one.
BackendUnavailable
    The backend can't run here.

Beside PyTorch and Keras
------------------------
Both draw from a generator with state, so that a value depends on all that was drawn before. PyTorch's names are
``kaiming_*`` for ``he_*``. Its ``trunc_normal_`` has absolute bounds. Keras' Glorot, He and LeCun "normal" initialisers
draw truncated normal numbers, with a std enlarged to make up for it; these, as PyTorch's, draw plain ones.

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
