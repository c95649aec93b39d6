"""Initialisation with a scale derived from the fans of a layer, so that the variance of signals is preserved."""

from __future__ import annotations

from math import inf, sqrt
from typing import Literal, SupportsIndex

from fastopt.common.messages import brief
from fastopt.common.types import Array, Backend, Stream
from fastopt.engine.core.options import one_of
from fastopt.engine.random.random import fill
from fastopt.init.fans import Layout, fan_in_of, fans
from fastopt.specs.random import NORMAL, UNIFORM


def _limits(std: float) -> tuple[float, float]:
    """Return the limits of a uniform distribution with this standard deviation."""
    limit = sqrt(3) * std
    return -limit, limit


def _xavier_std(
    param: Array, mode: str, layout: Layout, fan_in: SupportsIndex | None, fan_out: SupportsIndex | None
) -> float:
    if one_of("mode", mode, "average", "fan_in") == "average":
        return sqrt(2 / sum(fans(param, layout, fan_in, fan_out)))
    if fan_out is not None:
        raise ValueError(f"fan_out is {brief(fan_out)}; expected None, because mode is 'fan_in'")
    return sqrt(1 / fan_in_of(param, layout, fan_in))


def lecun_normal_(
    param: Array,
    *,
    layout: Layout = "torch",
    fan_in: SupportsIndex | None = None,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Fill param with normal numbers of variance 1 / fan_in, which preserve the variance of inputs with mean 0.

        param = std * z,  std = 1 / sqrt(fan_in),  z ~ N(0, 1)

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; of two axes or more, unless fan_in is given.
    layout, fan_in, seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all functions of `fastopt.init`.

    Notes
    -----
    For SELU networks. Keras' lecun_normal is truncated, with a larger std to compensate; PyTorch has no function of
    this name.

    References
    ----------
    Y. LeCun, L. Bottou, G. Orr and K.-R. Mueller, "Efficient BackProp", 1998, section 4.6, equation 16.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.init import lecun_normal_
    >>> weight = np.empty((100, 400), np.float32)
    >>> lecun_normal_(weight, seed=1)
    >>> round(float(weight.std()), 3)
    0.05
    """
    std = sqrt(1 / fan_in_of(param, layout, fan_in))
    fill(NORMAL, param, (0.0, std, inf), seed, offset, backend, num_threads, stream)


def xavier_normal_(
    param: Array,
    *,
    mode: Literal["average", "fan_in"] = "average",
    layout: Layout = "torch",
    fan_in: SupportsIndex | None = None,
    fan_out: SupportsIndex | None = None,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Glorot (Xavier) initialisation with normal numbers, a compromise for the variances of signals and of gradients.

        param = std * z,  z ~ N(0, 1)
        mode="average":  std = sqrt(2 / (fan_in + fan_out))
        mode="fan_in":   std = sqrt(1 / fan_in)

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; of two axes or more, unless fans are given.
    mode : {"average", "fan_in"}
        Whether the scale is derived from the mean of both fans, or from fan_in alone.
    layout, fan_in, fan_out, seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all functions of `fastopt.init`.

    Notes
    -----
    "average" is Glorot's own form, which PyTorch and Keras call Xavier or Glorot. "fan_in" is Caffe's form, the same as
    `lecun_normal_`. PyTorch's gain is 1 here. Keras' glorot_normal is truncated.

    References
    ----------
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010,
    equation 12.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.init import xavier_normal_
    >>> weight = np.empty((300, 500), np.float32)
    >>> xavier_normal_(weight, seed=1)
    >>> round(float(weight.std()), 2)
    0.05
    """
    std = _xavier_std(param, mode, layout, fan_in, fan_out)
    fill(NORMAL, param, (0.0, std, inf), seed, offset, backend, num_threads, stream)


def xavier_uniform_(
    param: Array,
    *,
    mode: Literal["average", "fan_in"] = "average",
    layout: Layout = "torch",
    fan_in: SupportsIndex | None = None,
    fan_out: SupportsIndex | None = None,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Glorot (Xavier) initialisation with uniform numbers, a compromise for the variances of signals and of gradients.

        param = limit * u,  limit = sqrt(3) * std,  u ~ U[-1, 1)
        mode="average":  std = sqrt(2 / (fan_in + fan_out))
        mode="fan_in":   std = sqrt(1 / fan_in)

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; of two axes or more, unless fans are given.
    mode : {"average", "fan_in"}
        Whether the scale is derived from the mean of both fans, or from fan_in alone.
    layout, fan_in, fan_out, seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all functions of `fastopt.init`.

    Notes
    -----
    limit is sqrt(6 / (fan_in + fan_out)) or sqrt(3 / fan_in), so std is the standard deviation. "average" is Keras'
    glorot_uniform, its default for dense layers, and PyTorch's ``xavier_uniform_`` with gain 1; "fan_in" is Caffe's.

    References
    ----------
    As `xavier_normal_`, equations 12 and 16.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.init import xavier_uniform_
    >>> weight = np.empty((300, 300), np.float32)
    >>> xavier_uniform_(weight, seed=1)
    >>> bool(abs(weight).max() <= 0.1), round(float(weight.std()), 3)
    (True, 0.058)
    """
    std = _xavier_std(param, mode, layout, fan_in, fan_out)
    fill(UNIFORM, param, _limits(std), seed, offset, backend, num_threads, stream)


def he_normal_(
    param: Array,
    *,
    layout: Layout = "torch",
    fan_in: SupportsIndex | None = None,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """He (Kaiming) initialisation with normal numbers, which preserves the variance of signals through ReLU layers.

        param = std * z,  std = sqrt(2 / fan_in),  z ~ N(0, 1)

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; of two axes or more, unless fan_in is given.
    layout, fan_in, seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all functions of `fastopt.init`.

    Notes
    -----
    As PyTorch's ``kaiming_normal_``, whose default of a leaky ReLU with slope 0 is a ReLU. Keras' he_normal is
    truncated, with a larger std to compensate. To preserve the variance of gradients, pass fan_out as fan_in.

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on ImageNet
    Classification", 2015, equation 10.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.init import he_normal_
    >>> weight = np.empty((64, 32, 5, 5), np.float32)
    >>> he_normal_(weight, seed=1)
    >>> round(float(weight.std()), 2)
    0.05
    """
    std = sqrt(2 / fan_in_of(param, layout, fan_in))
    fill(NORMAL, param, (0.0, std, inf), seed, offset, backend, num_threads, stream)


def he_uniform_(
    param: Array,
    *,
    layout: Layout = "torch",
    fan_in: SupportsIndex | None = None,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """He (Kaiming) initialisation with uniform numbers, which preserves the variance of signals through ReLU layers.

        param = limit * u,  limit = sqrt(6 / fan_in),  u ~ U[-1, 1)

    Parameters
    ----------
    param : array of float16, bfloat16, float32 or float64
        Updated; of two axes or more, unless fan_in is given.
    layout, fan_in, seed, offset, backend, num_threads, stream
        See `fastopt.init`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all functions of `fastopt.init`.

    Notes
    -----
    Its standard deviation is that of `he_normal_`. As PyTorch's ``kaiming_uniform_`` and Keras' he_uniform. (The
    default initialisation of PyTorch's layers has the smaller limit sqrt(1 / fan_in).)

    References
    ----------
    As `he_normal_`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.init import he_uniform_
    >>> weight = np.empty((5, 5, 6, 40), np.float32)
    >>> he_uniform_(weight, layout="keras", seed=1)
    >>> bool(abs(weight).max() <= 0.2)
    True
    """
    std = sqrt(2 / fan_in_of(param, layout, fan_in))
    fill(UNIFORM, param, _limits(std), seed, offset, backend, num_threads, stream)
