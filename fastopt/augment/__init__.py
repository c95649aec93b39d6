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
**Numbers by counter.** What is drawn follows from seed and offset, and from nothing else: it is the same on any
machine, any number of threads and in any memory layout, and an epoch can be repeated. **seed** is a whole number from 0
to 2**64 - 1, **offset** one from 0 to 2**56 - 1. Functions share no random bits with each other, nor with
`fastopt.init`, dropout and mini-batches: all can have the same seed and offset. docs/randomness.md says how numbers
follow from bits.

What `flip`, `shift` and `crop` share
=====================================
**x** is read: a batch of images of any dtype without Python objects (uint8, say) and any strides, in the host's memory
(NumPy, DLPack or buffer protocol). It has four axes: (N, C, H, W) with ``axis=1``, (N, H, W, C) with ``axis=-1``.
bfloat16 that comes through DLPack is uint16, the same bits, and so is a fill value other than 0.

**A counter for each sample.** Sample i of a call has the counter offset + i: parts of a batch, each with the offset of
its first sample, give the results of the whole. Batches and epochs that are to be drawn independently need offsets that
are apart by the number of samples in between, as in the example above.

**out** is written and returned: an array of x's dtype and the result's shape, with any strides, that shares no element
with x; a new C-contiguous array if None. Nothing is written before everything is checked.

**num_threads** is that of updates: see `fastopt.updates`.

Raises
------
ValueError
    x has not four axes; axis is none of 1 and -1 (or 3 and -3, the same); out has another shape, or overlaps x or
    itself; a number is out of its range, or fill is none that x's dtype can store.
TypeError
    x or out is no array, or holds Python objects; out is read-only or has another dtype; a number is not a real one, or
    not a whole one where it should be.
BackendUnavailable
    An array is on a CUDA device. `noise_` takes such arrays.
"""

from fastopt.augment.images import crop, flip, shift
from fastopt.augment.noise import noise_

__all__ = ["crop", "flip", "noise_", "shift"]

__dir__ = __all__.copy
