"""Group normalisation: each group of adjacent channels of a sample is normalised separately."""

from __future__ import annotations

from typing import Literal, SupportsIndex, overload

from fastopt.common.types import Activation, Array, Backend, BackwardOptions, Out, Real, Result, Stream, Unpack
from fastopt.engine.norm import norm


def group_norm_forward(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    groups: SupportsIndex,
    axis: SupportsIndex = 1,
    eps: Real = 1e-5,
    residual: Array | None = None,
    activation: Activation = None,
    out: Out = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> tuple[Result, Result, Result]:
    """Normalise each group of channels of each sample separately.

        mean = sum(x) / M                               over the M values of a sample's group
        rstd = 1 / sqrt(sum((x - mean)^2) / M + eps)
        y = weight * (x - mean) * rstd + bias           (+ residual; then max(y, 0) for "relu")

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        Read; of shape (N, C) or (N, C, ...), or with the C channels along another axis.
    weight, bias : array, optional
        Read; of shape (C,). None means ones and zeros.
    groups : int >= 1
        Number of groups, a divisor of C. A group is C / groups adjacent channels.
    axis : int
        Axis of the channels; any but 0.
    eps : float >= 0
        Added to the variance.
    residual : array, optional
        Read; of x's shape. Added to y.
    activation, out, backend, num_threads, stream : optional
        See `fastopt.norm`.

    Returns
    -------
    y : array
        Of x's shape.
    mean, rstd : array
        Of shape (N, groups). `group_norm_backward` needs them.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every norm: see `fastopt.norm`.

    Notes
    -----
    As PyTorch. With one channel per group, it is instance norm. Keras' defaults are groups=32 and eps=1e-3.

    References
    ----------
    Y. Wu and K. He, "Group Normalization", 2018, equations 1, 2 and 7.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import group_norm_forward
    >>> x = np.array([[1, 3, 2, 6]], np.float32)
    >>> y, mean, rstd = group_norm_forward(x, bias=np.array([0, 0, 0, 5], np.float32), groups=2, eps=0.0)
    >>> y
    array([[-1.,  1., -1.,  6.]], dtype=float32)
    >>> mean, rstd
    (array([[2., 4.]], dtype=float32), array([[1. , 0.5]], dtype=float32))
    """
    return norm.forward(
        norm.GROUP, x, weight, bias, None, None, residual, out,
        axis, groups, 0.0, eps, True, activation, backend, num_threads, stream,
    )  # fmt: skip


@overload
def group_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    groups: SupportsIndex, residual: Literal[False] = ..., **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result]: ...  # fmt: skip
@overload
def group_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    groups: SupportsIndex, residual: Literal[True], **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result, Result]: ...  # fmt: skip
@overload
def group_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    groups: SupportsIndex, residual: bool, **options: Unpack[BackwardOptions],
) -> tuple[Result, ...]: ...  # fmt: skip
def group_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    *,
    groups: SupportsIndex,
    axis: SupportsIndex = 1,
    y: Array | None = None,
    activation: Activation = None,
    residual: bool = False,
    out: Out = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> tuple[Result, ...]:
    """Gradients of `group_norm_forward`.

        x_hat = (x - mean) * rstd
        dbias = sum(dy)                                 over all values of a channel
        dweight = sum(dy * x_hat)
        g = weight * dy
        dx = rstd * (g - sum(g) / M - x_hat * sum(g * x_hat) / M)        over the M values of a sample's group

    With an activation, dy is replaced by 0 where y <= 0. dresidual is dy after this replacement.

    Parameters
    ----------
    dy, x : array of float16, bfloat16, float32 or float64
        Read; dy is the gradient of y, x is the input of the forward pass. Both have x's shape.
    weight : array or None
        Read; of shape (C,), as in the forward pass.
    mean, rstd : array
        Read; of shape (N, groups), as forward returned them.
    groups : int >= 1
        Number of groups.
    axis : int
        Axis of the channels; any but 0.
    y : array, optional
        Read; the output of the forward pass. Required if there is an activation.
    activation, residual, out, backend, num_threads, stream : optional
        See `fastopt.norm`.

    Returns
    -------
    dx : array
        Of x's shape.
    dweight, dbias : array
        Of shape (C,).
    dresidual : array
        Of x's shape; returned only if residual is True.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every norm: see `fastopt.norm`.

    Notes
    -----
    As PyTorch's native_group_norm_backward.

    References
    ----------
    As `group_norm_forward`. The derivation is in docs/batch-norm.md.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import group_norm_backward, group_norm_forward
    >>> x = np.array([[0, 0, 2, 2]], np.float32)
    >>> y, mean, rstd = group_norm_forward(x, groups=1, eps=0.0)
    >>> dx, dweight, dbias = group_norm_backward(np.array([[1, 0, 0, 0]], np.float32), x, None, mean, rstd, groups=1)
    >>> dx
    array([[ 0.5, -0.5,  0. ,  0. ]], dtype=float32)
    >>> dweight, dbias
    (array([-1.,  0.,  0.,  0.], dtype=float32), array([1., 0., 0., 0.], dtype=float32))
    """
    return norm.backward(
        norm.GROUP, dy, x, weight, mean, rstd, y, out, axis, groups, activation, residual, backend, num_threads, stream
    )
