"""Random noise, added in place."""

from __future__ import annotations

from typing import SupportsIndex

from fastopt.common.types import Array, Backend, Real, Stream
from fastopt.engine.core.hyperparameters import Hyperparameters, flag
from fastopt.engine.random.random import fill
from fastopt.specs.random import NOISE, UNIFORM_NOISE

_of_noise = Hyperparameters("std")


def noise_(
    x: Array,
    *,
    std: Real,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    uniform: bool = False,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Add random noise to an array, in place.

        x = x + std * z,  z ~ N(0, 1), or with uniform=True z ~ U[-1, 1)

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        Updated; any shape and strides.
    std : float >= 0
        Standard deviation of normal noise. For uniform noise, the largest deviation; the standard deviation is
        std / sqrt(3).
    seed : int
        From 0 to 2**64 - 1.
    offset : int
        From 0 to 2**56 - 1. Use another offset for each call, such as the number of the batch.
    uniform : bool
        Whether the noise is uniform, from -std to below std, or normal.
    backend, num_threads, stream : optional
        See `fastopt.init`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for all functions of `fastopt.init`, with x in place of param; also if uniform is not a bool.

    Notes
    -----
    The noise of an element depends on seed, offset and its index in C order. NaN and infinity are unchanged, and sums
    are not clipped. Sums in float16 and bfloat16 are computed in float32 and rounded once. Keras' GaussianNoise does
    this in training only. torchvision's GaussianNoise clips to [0, 1] by default. Both use a generator with state.

    References
    ----------
    C. Bishop, "Training with Noise is Equivalent to Tikhonov Regularization", 1995.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.augment import noise_
    >>> x = np.full(100_000, 5.0, np.float32)
    >>> noise_(x, std=0.1, seed=1)
    >>> bool(abs(x.mean() - 5) < 1e-3), round(float(x.std()), 2)
    (True, 0.1)
    """
    spec = UNIFORM_NOISE if flag("uniform", uniform) else NOISE
    fill(spec, x, _of_noise(std), seed, offset, backend, num_threads, stream, "x")
