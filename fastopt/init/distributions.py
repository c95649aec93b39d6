"""Initialisation from a given distribution."""

from __future__ import annotations

from typing import SupportsIndex

from fastopt.common.types import Array, Backend, Real, Stream
from fastopt.engine.core.hyperparameters import Hyperparameters
from fastopt.engine.random.random import fill
from fastopt.specs.random import NORMAL, UNIFORM

_of_normal = Hyperparameters("mean", "std")
_of_truncated = Hyperparameters("mean", "std", "bound")
_of_uniform = Hyperparameters("low", "high")


def normal_(
    param: Array,
    *,
    mean: Real = 0.0,
    std: Real = 0.01,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Fill param with normal numbers.

        param = mean + std * z,  z ~ N(0, 1)

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; any shape.
    mean : float
        Mean.
    std : float >= 0
        Standard deviation.
    seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all functions of `fastopt.init`.

    Notes
    -----
    z is the normal quantile of a random number of 32 bits (in float64, 53), with a relative error of up to 6e-7
    (1e-14). ``|z|`` is at most 6.34 (8.3). The default std is 1 in PyTorch and 0.05 in Keras.

    References
    ----------
    A. Krizhevsky, I. Sutskever and G. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
    section 5: weights from N(0, 0.01^2).

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.init import normal_
    >>> weight = np.empty((1000, 100), np.float32)
    >>> normal_(weight, std=0.5, seed=1)
    >>> bool(abs(weight.mean()) < 0.01), round(float(weight.std()), 2)
    (True, 0.5)
    """
    fill(NORMAL, param, _of_normal(mean, std), seed, offset, backend, num_threads, stream)


def truncated_normal_(
    param: Array,
    *,
    mean: Real = 0.0,
    std: Real = 0.01,
    bound: Real = 2.0,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Fill param with normal numbers truncated at ``bound`` standard deviations from the mean.

        param = mean + std * z,  z ~ N(0, 1) given that |z| < bound

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; any shape.
    mean : float
        Mean.
    std : float >= 0
        Standard deviation before truncation; with bound=2, the truncated distribution has 0.88 of it.
    bound : float > 0
        Truncation bound on either side, in standard deviations.
    seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all functions of `fastopt.init`.

    Notes
    -----
    The truncation is exact: z is a quantile of the truncated distribution. Nothing is clipped, so values at the bounds
    are not more frequent than others, and nothing is resampled, so each element's value is independent of the others.
    The bounds hold for param as stored: a value that rounding would move beyond a bound becomes the nearest number of
    param's type within it. PyTorch's bounds are absolute, by default -2 and 2, and its default std is 1. Keras
    truncates at two standard deviations, and its default std is 0.05.

    References
    ----------
    L. Devroye, "Non-Uniform Random Variate Generation", 1986, section II.2, on inversion.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.init import truncated_normal_
    >>> weight = np.empty(100_000, np.float32)
    >>> truncated_normal_(weight, std=0.5, seed=1)
    >>> bool(abs(weight).max() <= 1.0), round(float(weight.std()), 2)
    (True, 0.44)
    """
    fill(NORMAL, param, _of_truncated(mean, std, bound), seed, offset, backend, num_threads, stream)


def uniform_(
    param: Array,
    *,
    low: Real = 0.0,
    high: Real = 1.0,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Fill param with uniform numbers.

        param = low + (high - low) * u,  u ~ U[0, 1)

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; any shape.
    low, high : float
        Bounds of the range.
    seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError
        If low or high is not finite, or high is below low.
    TypeError, BackendUnavailable
        As in all functions of `fastopt.init`.

    Notes
    -----
    u is a multiple of 2^-24, in float64 of 2^-53. All numbers are in [low, high) as stored: a value that rounding would
    move out of the range becomes the nearest number of param's type within it (float16 from 0 to 1: 0.02 % of the
    numbers; bfloat16: 0.2 %). If no such number exists, all elements are low, rounded. The default range is -0.05 to
    0.05 in Keras and 0 to 1 in PyTorch.

    References
    ----------
    J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.init import uniform_
    >>> weight = np.empty(100_000, np.float32)
    >>> uniform_(weight, low=-1.0, high=3.0, seed=1)
    >>> bool(weight.min() >= -1.0), bool(weight.max() < 3.0), round(float(weight.mean()), 1)
    (True, True, 1.0)
    """
    limits = _of_uniform(low, high)
    if limits[1] < limits[0]:
        raise ValueError(f"high is {limits[1]}; expected {limits[0]} or more, the value of low")
    fill(UNIFORM, param, limits, seed, offset, backend, num_threads, stream)
