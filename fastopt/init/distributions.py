"""Parameters from a distribution that the caller describes."""

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
    """Normal numbers.

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
        As in all of `fastopt.init`.

    Notes
    -----
    z is the normal quantile of a random number of 32 bits (in float64, of 53), right to 6e-7 of itself (1e-14); no z is
    beyond 6.34 (8.3) standard deviations. PyTorch's std is 1 unless given, and Keras' 0.05.

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
    """Normal numbers, none of which is farther from the mean than ``bound`` standard deviations.

        param = mean + std * z,  z ~ N(0, 1) given that |z| < bound

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; any shape.
    mean : float
        Mean.
    std : float >= 0
        Standard deviation of the distribution before it is truncated; truncated at 2, it has 0.88 of it.
    bound : float > 0
        Where it is truncated, in standard deviations to either side.
    seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all of `fastopt.init`.

    Notes
    -----
    The truncation is exact: z is a quantile of the truncated distribution itself. No range of values is clipped, so
    that no value is more frequent than its neighbours; and nothing is drawn again, so that an element's value stays its
    own. The bounds hold for param as it is stored: what rounding would put beyond one becomes the nearest number within
    it, of param's type. PyTorch's bounds are absolute, from -2 to 2 unless given, and its std 1; Keras truncates at two
    standard deviations, and its std is 0.05.

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
    """Uniform numbers.

        param = low + (high - low) * u,  u ~ U[0, 1)

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; any shape.
    low, high : float
        From where to where.
    seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError
        If low or high is not finite, or high is below low.
    TypeError, BackendUnavailable
        As in all of `fastopt.init`.

    Notes
    -----
    u is a multiple of 2^-24, in float64 of 2^-53. All numbers are from low to below high as they are stored: what
    rounding would put outside becomes the nearest number inside, of param's type (float16 from 0 to 1: 0.02 % of the
    numbers; bfloat16: 0.2 %). Where no such number exists, all elements are low, rounded. Keras' range is -0.05 to 0.05
    unless given; PyTorch's is 0 to 1, too.

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
        raise ValueError(f"high is {limits[1]}; expected {limits[0]} or more, as low is")
    fill(UNIFORM, param, limits, seed, offset, backend, num_threads, stream)
