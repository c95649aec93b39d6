"""Instance normalisation: each channel of each sample is normalised separately."""

from __future__ import annotations

from typing import Literal, SupportsIndex, overload

from fastopt.common.types import Activation, Array, Backend, BackwardOptions, Out, Real, Result, Stream, Unpack
from fastopt.engine.norm import norm


def instance_norm_forward(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axis: SupportsIndex = 1,
    eps: Real = 1e-5,
    residual: Array | None = None,
    activation: Activation = None,
    out: Out = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> tuple[Result, Result, Result]:
    """Normalise each channel of each sample separately.

        mean = sum(x) / M                               over the M values of a sample's channel
        rstd = 1 / sqrt(sum((x - mean)^2) / M + eps)
        y = weight * (x - mean) * rstd + bias           (+ residual; then max(y, 0) for "relu")

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        Read; of shape (N, C, ...), or with the C channels along another axis.
    weight, bias : array, optional
        Read; of shape (C,). None means ones and zeros.
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
        Of shape (N, C). `instance_norm_backward` needs them.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every norm: see `fastopt.norm`.

    Notes
    -----
    As PyTorch without running statistics, which is its default. PyTorch refuses one value per sample and channel; here,
    y is then bias. In Keras, it is GroupNormalization(groups=-1), with eps=1e-3.

    References
    ----------
    D. Ulyanov, A. Vedaldi and V. Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization",
    2016, equation 3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import instance_norm_forward
    >>> x = np.array([[[1, 3], [2, 6]]], np.float32)
    >>> y, mean, rstd = instance_norm_forward(x, bias=np.array([0, 5], np.float32), eps=0.0)
    >>> y
    array([[[-1.,  1.],
            [ 4.,  6.]]], dtype=float32)
    >>> mean, rstd
    (array([[2., 4.]], dtype=float32), array([[1. , 0.5]], dtype=float32))
    """
    return norm.forward(
        norm.INSTANCE, x, weight, bias, None, None, residual, out,
        axis, 0, 0.0, eps, True, activation, backend, num_threads, stream,
    )  # fmt: skip


@overload
def instance_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    residual: Literal[False] = ..., **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result]: ...  # fmt: skip
@overload
def instance_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    residual: Literal[True], **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result, Result]: ...  # fmt: skip
@overload
def instance_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    residual: bool, **options: Unpack[BackwardOptions],
) -> tuple[Result, ...]: ...  # fmt: skip
def instance_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    *,
    axis: SupportsIndex = 1,
    y: Array | None = None,
    activation: Activation = None,
    residual: bool = False,
    out: Out = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> tuple[Result, ...]:
    """Gradients of `instance_norm_forward`.

        x_hat = (x - mean) * rstd
        dbias = sum(dy)                                 over all values of a channel
        dweight = sum(dy * x_hat)
        dx = weight * rstd * (dy - sum(dy) / M - x_hat * sum(dy * x_hat) / M)    over the M values of a sample's channel

    With an activation, dy is replaced by 0 where y <= 0. dresidual is dy after this replacement.

    Parameters
    ----------
    dy, x : array of float16, bfloat16, float32 or float64
        Read; dy is the gradient of y, x is the input of the forward pass. Both have x's shape.
    weight : array or None
        Read; of shape (C,), as in the forward pass.
    mean, rstd : array
        Read; of shape (N, C), as forward returned them.
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
    As PyTorch, which applies batch norm's backward function to N * C channels.

    References
    ----------
    As `instance_norm_forward`. The derivation is in docs/batch-norm.md.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import instance_norm_backward, instance_norm_forward
    >>> x = np.array([[[0, 0, 2, 2]]], np.float32)
    >>> y, mean, rstd = instance_norm_forward(x, eps=0.0)
    >>> dx, dweight, dbias = instance_norm_backward(np.array([[[1, 0, 0, 0]]], np.float32), x, None, mean, rstd)
    >>> dx.ravel(), dweight, dbias
    (array([ 0.5, -0.5,  0. ,  0. ], dtype=float32), array([-1.], dtype=float32), array([1.], dtype=float32))
    """
    return norm.backward(
        norm.INSTANCE, dy, x, weight, mean, rstd, y, out, axis, 0, activation, residual, backend, num_threads, stream
    )
