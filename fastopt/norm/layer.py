"""Layer normalisation: each sample is normalised over all its features, or over its last axes."""

from __future__ import annotations

from typing import Literal, SupportsIndex, overload

from fastopt.common.types import Activation, Array, Backend, BackwardOptions, Out, Real, Result, Stream, Unpack
from fastopt.engine.norm import norm


def layer_norm_forward(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axis: SupportsIndex = -1,
    eps: Real = 1e-5,
    residual: Array | None = None,
    activation: Activation = None,
    out: Out = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> tuple[Result, Result, Result]:
    """Normalise over the last axes of x, separately for each index of the first axes.

        mean = sum(x) / M                               over the M values along the last axes
        rstd = 1 / sqrt(sum((x - mean)^2) / M + eps)
        y = weight * (x - mean) * rstd + bias           (+ residual; then max(y, 0) for "relu")

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        Read; of any shape, usually (N, ..., C).
    weight, bias : array, optional
        Read; of shape x.shape[axis:]. None means ones and zeros.
    axis : int
        The first of the axes that are normalised together.
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
        Of shape x.shape[:axis]. `layer_norm_backward` needs them.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every norm: see `fastopt.norm`.

    Notes
    -----
    As PyTorch with normalized_shape=x.shape[axis:], and as ONNX, whose axis has the same meaning. Keras normalises over
    only the axes that are listed, with eps=1e-3. Flax has eps=1e-6.

    References
    ----------
    J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer Normalization", 2016, equations 3 and 4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import layer_norm_forward
    >>> x = np.array([[1, 3], [2, 6]], np.float32)
    >>> y, mean, rstd = layer_norm_forward(x, bias=np.array([0, 5], np.float32), eps=0.0)
    >>> y
    array([[-1.,  6.],
           [-1.,  6.]], dtype=float32)
    >>> mean, rstd
    (array([2., 4.], dtype=float32), array([1. , 0.5], dtype=float32))
    """
    return norm.forward(
        norm.LAYER, x, weight, bias, None, None, residual, out,
        axis, 0, 0.0, eps, True, activation, backend, num_threads, stream,
    )  # fmt: skip


@overload
def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    residual: Literal[False] = ..., **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result]: ...  # fmt: skip
@overload
def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    residual: Literal[True], **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result, Result]: ...  # fmt: skip
@overload
def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    residual: bool, **options: Unpack[BackwardOptions],
) -> tuple[Result, ...]: ...  # fmt: skip
def layer_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    *,
    axis: SupportsIndex = -1,
    y: Array | None = None,
    activation: Activation = None,
    residual: bool = False,
    out: Out = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> tuple[Result, ...]:
    """Gradients of `layer_norm_forward`.

        x_hat = (x - mean) * rstd
        dbias = sum(dy)                                 over the positions of the first axes
        dweight = sum(dy * x_hat)
        g = weight * dy
        dx = rstd * (g - sum(g) / M - x_hat * sum(g * x_hat) / M)        over the M values along the last axes

    With an activation, dy is replaced by 0 where y <= 0. dresidual is dy after this replacement.

    Parameters
    ----------
    dy, x : array of float16, bfloat16, float32 or float64
        Read; dy is the gradient of y, x is the input of the forward pass. Both have x's shape.
    weight : array or None
        Read; of shape x.shape[axis:], as in the forward pass.
    mean, rstd : array
        Read; of shape x.shape[:axis], as forward returned them.
    axis : int
        The first of the axes that were normalised together.
    y : array, optional
        Read; the output of the forward pass. Required if there is an activation.
    activation, residual, out, backend, num_threads, stream : optional
        See `fastopt.norm`.

    Returns
    -------
    dx : array
        Of x's shape.
    dweight, dbias : array
        Of shape x.shape[axis:].
    dresidual : array
        Of x's shape; returned only if residual is True.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every norm: see `fastopt.norm`.

    Notes
    -----
    As PyTorch's native_layer_norm_backward, whose mean and rstd retain the normalised axes with length 1.

    References
    ----------
    As `layer_norm_forward`. The derivation is in docs/batch-norm.md.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import layer_norm_backward, layer_norm_forward
    >>> x = np.array([[0, 0, 2, 2]], np.float32)
    >>> y, mean, rstd = layer_norm_forward(x, eps=0.0)
    >>> dx, dweight, dbias = layer_norm_backward(np.array([[1, 0, 0, 0]], np.float32), x, None, mean, rstd)
    >>> dx
    array([[ 0.5, -0.5,  0. ,  0. ]], dtype=float32)
    >>> dweight, dbias
    (array([-1.,  0.,  0.,  0.], dtype=float32), array([1., 0., 0., 0.], dtype=float32))
    """
    return norm.backward(
        norm.LAYER, dy, x, weight, mean, rstd, y, out, axis, 0, activation, residual, backend, num_threads, stream
    )
