"""Residual connections without a norm."""

from __future__ import annotations

from fastopt.common.types import Activation, Array, Backend, Result, Stream
from fastopt.engine.norm import norm


def residual_add(
    x: Array,
    residual: Array,
    *,
    activation: Activation = None,
    out: Array | None = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> Result:
    """Add a residual connection, and apply an activation in the same pass.

        y = x + residual                        (then max(y, 0) for "relu")

    If x is the result of a norm, fuse the addition instead: `batch_norm_forward` and the other norms take ``residual``
    and ``activation``, and do not write x to memory.

    Parameters
    ----------
    x, residual : array of float16, bfloat16, float32 or float64
        Read; both of the same shape, with any strides.
    activation : "relu", optional
        Applied to the sum. relu(NaN) is NaN.
    out : array, optional
        Written and returned in place of a new array of x's dtype. It may be x or residual itself; otherwise it must not
        overlap them.
    backend, num_threads, stream : optional
        See `fastopt.norm`.

    Returns
    -------
    y : array
        Of x's shape, dtype and memory order.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every norm: see `fastopt.norm`.

    Notes
    -----
    The result is bit for bit that of the norms' fused form: computed in float32, or in float64 if an array is, and
    rounded once. PyTorch adds and applies relu in two passes; in 16 bits, it rounds after each.

    References
    ----------
    K. He et al., "Deep Residual Learning for Image Recognition", 2016, equation 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import residual_add
    >>> x, residual = np.array([1.0, -2.0, 3.0], np.float32), np.array([0.5, 1.0, -4.0], np.float32)
    >>> residual_add(x, residual)
    array([ 1.5, -1. , -1. ], dtype=float32)
    >>> residual_add(x, residual, activation="relu", out=x) is x
    True
    >>> x
    array([1.5, 0. , 0. ], dtype=float32)
    """
    return norm.add(x, residual, out, activation, backend, num_threads, stream)


def residual_add_backward(
    dy: Array,
    *,
    y: Array | None = None,
    activation: Activation = None,
    out: Array | None = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> Result:
    """Gradient of `residual_add`: one array, because x and residual have the same gradient.

        dx = dresidual = dy                     (for "relu": 0 where y <= 0)

    Parameters
    ----------
    dy : array of float16, bfloat16, float32 or float64
        Read; the gradient of y, of any shape and strides.
    y : array, optional
        Read; the output of `residual_add`. Required if there is an activation.
    activation : "relu", optional
        As in the forward pass.
    out : array, optional
        Written and returned in place of a new array. It may be dy or y itself.
    backend, num_threads, stream : optional
        See `fastopt.norm`.

    Returns
    -------
    dx : array
        Of dy's shape and dtype. Without an activation and ``out``, dy itself.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every norm: see `fastopt.norm`.

    Notes
    -----
    Where y is NaN, dx is dy. If x has further uses, sum their gradients with `accumulate`.

    References
    ----------
    K. He et al., "Identity Mappings in Deep Residual Networks", 2016, equation 5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import residual_add_backward
    >>> dy, y = np.array([1.0, 2.0, 3.0], np.float32), np.array([1.5, 0.0, 0.0], np.float32)
    >>> residual_add_backward(dy) is dy
    True
    >>> residual_add_backward(dy, y=y, activation="relu")
    array([1., 0., 0.], dtype=float32)
    """
    return norm.add_backward(dy, y, out, activation, backend, num_threads, stream)
