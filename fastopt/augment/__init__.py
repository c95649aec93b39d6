"""Data augmentation: noise, and random flips, shifts and crops of images, as functions of a seed and a counter.

>>> import numpy as np
>>> from fastopt import augment, minibatches
>>> images = np.random.default_rng(0).random((100, 3, 32, 32), np.float32)
>>> batches = minibatches(images, batch_size=50, seed=1)
>>> for number, batch in enumerate(batches):
...     first = batches.epoch * len(images) + number * 50
...     batch = augment.crop(batch, shape=32, padding=4, seed=1, offset=first)
...     batch = augment.flip(batch, seed=1, offset=first)
...     augment.noise_(batch, std=0.01, seed=1, offset=first)

What all of these share
=======================
**Numbers by counter.** The random numbers depend on seed and offset only. They are the same on any machine, with any
number of threads and in any memory layout, and an epoch can be repeated. **seed** is a whole number from 0 to
2**64 - 1, **offset** is one from 0 to 2**56 - 1. The functions share no random bits with each other, nor with
`fastopt.init`, dropout and mini-batches, so all of them can have the same seed and offset. docs/randomness.md describes
how bits become numbers.

What `flip`, `shift` and `crop` share
=====================================
**x** is read: a batch of images of any dtype without Python objects (uint8, say) and any strides, in the host's memory
(NumPy, DLPack or buffer protocol). It has four axes: (N, C, H, W) with ``axis=1``, (N, H, W, C) with ``axis=-1``.
bfloat16 arrays from DLPack are treated as uint16, and so is a fill value other than 0.

**A counter for each sample.** Sample i of a call has the counter offset + i: parts of a batch, each with the offset of
its first sample, give the results of the whole. For independent batches and epochs, increase the offset by the number
of samples, as in the example above.

**out** is written and returned: an array of x's dtype and the result's shape, with any strides, that shares no element
with x; a new C-contiguous array if None. Nothing is written before everything is checked.

**num_threads** is that of updates: see `fastopt.updates`.

Raises
------
ValueError
    x does not have four axes; axis is not 1 or -1 (or 3 or -3, the same axes); out has another shape, or overlaps x or
    itself; a number is out of its range; x's dtype cannot store fill.
TypeError
    x or out is not an array, or contains Python objects; out is read-only or has another dtype; a number is not real,
    or not whole where a whole number is expected.
BackendUnavailable
    An array is on a CUDA device. `noise_` accepts such arrays.
"""

from fastopt.augment.images import crop, flip, shift
from fastopt.augment.noise import noise_

__all__ = ["crop", "flip", "noise_", "shift"]

__dir__ = __all__.copy
