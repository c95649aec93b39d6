"""Batch normalisation: each channel is normalised over all samples of the batch."""

from __future__ import annotations

from typing import Literal, SupportsIndex, overload

from fastopt.common.types import Activation, Array, Backend, BackwardOptions, Out, Real, Result, Stream, Unpack
from fastopt.engine.norm import norm


def batch_norm_forward(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    momentum: Real = 0.1,
    eps: Real = 1e-5,
    axis: SupportsIndex = 1,
    unbiased: bool = True,
    residual: Array | None = None,
    activation: Activation = None,
    out: Out = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> tuple[Result, Result, Result]:
    """Normalise each channel by its mean and variance over the batch, as in training.

        mean = sum(x) / M                               over the M values of a channel
        var = sum((x - mean)^2) / M
        rstd = 1 / sqrt(var + eps)
        y = weight * (x - mean) * rstd + bias           (+ residual; then max(y, 0) for "relu")
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * var * M / (M - 1)

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        Read; of shape (N, C) or (N, C, ...), or with the C channels along another axis.
    weight, bias : array, optional
        Read; of shape (C,). None means ones and zeros.
    running_mean, running_var : array, optional
        Updated; of shape (C,). Start from zeros and from ones. Both or neither.
    momentum : float in [0, 1]
        Weight of the batch in the running statistics.
    eps : float >= 0
        Added to the variance.
    axis : int
        Axis of the channels; any but 0.
    unbiased : bool
        If False, running_var is updated with var, without the factor M / (M - 1).
    residual : array, optional
        Read; of x's shape. Added to y.
    activation, out, backend, num_threads, stream : optional
        See `fastopt.norm`.

    Returns
    -------
    y : array
        Of x's shape.
    mean, rstd : array
        Of shape (C,). `batch_norm_backward` needs them.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every norm: see `fastopt.norm`.

    Notes
    -----
    momentum is the weight of the new value, as in PyTorch and cuDNN. In Keras, Flax and ONNX it is the weight of the
    old value: their 0.99 is 0.01 here. Keras has eps=1e-3 and channels last. PyTorch and cuDNN store the unbiased
    variance; Keras, Flax and ONNX store the biased one, as unbiased=False does.

    With one value per channel, y is bias, and running_var does not change because there is no unbiased variance.
    PyTorch refuses such a batch. An empty batch changes neither of the running statistics. A variance that is too large
    for the dtype of running_var becomes its largest finite number.

    References
    ----------
    S. Ioffe and C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift", 2015, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import batch_norm_forward
    >>> x = np.array([[1, 2], [3, 6]], np.float32)
    >>> y, mean, rstd = batch_norm_forward(x, eps=0.0)
    >>> y
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    >>> mean, rstd
    (array([2., 4.], dtype=float32), array([1. , 0.5], dtype=float32))

    Running statistics, here after one batch:

    >>> running_mean, running_var = np.zeros(2, np.float32), np.ones(2, np.float32)
    >>> _ = batch_norm_forward(x, None, None, running_mean, running_var, momentum=1.0)
    >>> running_mean, running_var
    (array([2., 4.], dtype=float32), array([2., 8.], dtype=float32))
    """
    return norm.forward(
        norm.BATCH, x, weight, bias, running_mean, running_var, residual, out,
        axis, 0, momentum, eps, unbiased, activation, backend, num_threads, stream,
    )  # fmt: skip


@overload
def batch_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    residual: Literal[False] = ..., **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result]: ...  # fmt: skip
@overload
def batch_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    residual: Literal[True], **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result, Result]: ...  # fmt: skip
@overload
def batch_norm_backward(
    dy: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, *,
    residual: bool, **options: Unpack[BackwardOptions],
) -> tuple[Result, ...]: ...  # fmt: skip
def batch_norm_backward(
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
    """Gradients of `batch_norm_forward`, including those through the batch's mean and variance.

        x_hat = (x - mean) * rstd
        dbias = sum(dy)                                 over the M values of a channel
        dweight = sum(dy * x_hat)
        dx = weight * rstd * (dy - dbias / M - x_hat * dweight / M)

    With an activation, dy is replaced by 0 where y <= 0. dresidual is dy after this replacement.

    Parameters
    ----------
    dy, x : array of float16, bfloat16, float32 or float64
        Read; dy is the gradient of y, x is the input of the forward pass. Both have x's shape.
    weight : array or None
        Read; of shape (C,), as in the forward pass.
    mean, rstd : array
        Read; of shape (C,), as forward returned them.
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
    As PyTorch's native_batch_norm_backward in training. rstd is the same as its save_invstd and cuDNN's saved inverse
    variance.

    References
    ----------
    As `batch_norm_forward`, section 3. The derivation is in docs/batch-norm.md.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import batch_norm_backward, batch_norm_forward
    >>> x = np.array([[0], [0], [2], [2]], np.float32)
    >>> y, mean, rstd = batch_norm_forward(x, eps=0.0)
    >>> dx, dweight, dbias = batch_norm_backward(np.array([[1], [0], [0], [0]], np.float32), x, None, mean, rstd)
    >>> dx.ravel(), dweight, dbias
    (array([ 0.5, -0.5,  0. ,  0. ], dtype=float32), array([-1.], dtype=float32), array([1.], dtype=float32))
    """
    return norm.backward(
        norm.BATCH, dy, x, weight, mean, rstd, y, out, axis, 0, activation, residual, backend, num_threads, stream
    )


def batch_norm_inference(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array,
    running_var: Array,
    *,
    eps: Real = 1e-5,
    axis: SupportsIndex = 1,
    residual: Array | None = None,
    activation: Activation = None,
    out: Array | None = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> Result:
    """Normalise each channel by given statistics: running statistics, or those of a whole data set.

        y = weight * (x - running_mean) / sqrt(running_var + eps) + bias        (+ residual; then max(y, 0) for "relu")

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        Read; of shape (N, C) or (N, C, ...), or with the C channels along another axis.
    weight, bias : array or None
        Read; of shape (C,). None means ones and zeros.
    running_mean, running_var : array
        Read; of shape (C,).
    eps : float >= 0
        Added to the variance.
    axis : int
        Axis of the channels; any but 0.
    residual : array, optional
        Read; of x's shape. Added to y.
    activation, out, backend, num_threads, stream : optional
        See `fastopt.norm`.

    Returns
    -------
    y : array
        Of x's shape.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every norm: see `fastopt.norm`.

    Notes
    -----
    As PyTorch in evaluation mode. `fastopt.norm.DatasetStatistics` computes the exact statistics of a data set.

    References
    ----------
    As `batch_norm_forward`, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import batch_norm_inference
    >>> x = np.array([[1, 2], [3, 6]], np.float32)
    >>> weight, bias = np.array([1, 2], np.float32), np.array([0, 5], np.float32)
    >>> batch_norm_inference(x, weight, bias, np.array([1, 4], np.float32), np.array([4, 1], np.float32), eps=0.0)
    array([[0., 1.],
           [1., 9.]], dtype=float32)
    """
    return norm.inference(
        x, weight, bias, running_mean, running_var, residual, out, axis, eps, activation, backend, num_threads, stream
    )


@overload
def batch_norm_backward_inference(
    dy: Array, x: Array, weight: Array | None, running_mean: Array, running_var: Array, *,
    eps: Real = ..., residual: Literal[False] = ..., **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result]: ...  # fmt: skip
@overload
def batch_norm_backward_inference(
    dy: Array, x: Array, weight: Array | None, running_mean: Array, running_var: Array, *,
    eps: Real = ..., residual: Literal[True], **options: Unpack[BackwardOptions],
) -> tuple[Result, Result, Result, Result]: ...  # fmt: skip
@overload
def batch_norm_backward_inference(
    dy: Array, x: Array, weight: Array | None, running_mean: Array, running_var: Array, *,
    eps: Real = ..., residual: bool, **options: Unpack[BackwardOptions],
) -> tuple[Result, ...]: ...  # fmt: skip
def batch_norm_backward_inference(
    dy: Array,
    x: Array,
    weight: Array | None,
    running_mean: Array,
    running_var: Array,
    *,
    eps: Real = 1e-5,
    axis: SupportsIndex = 1,
    y: Array | None = None,
    activation: Activation = None,
    residual: bool = False,
    out: Out = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> tuple[Result, ...]:
    """Gradients of `batch_norm_inference`, in which the statistics are constants.

        rstd = 1 / sqrt(running_var + eps)
        dbias = sum(dy)                                 over the values of a channel
        dweight = sum(dy * (x - running_mean) * rstd)
        dx = weight * rstd * dy

    With an activation, dy is replaced by 0 where y <= 0. dresidual is dy after this replacement.

    Parameters
    ----------
    dy, x : array of float16, bfloat16, float32 or float64
        Read; dy is the gradient of y, x is the input of the forward pass. Both have x's shape.
    weight : array or None
        Read; of shape (C,), as in the forward pass.
    running_mean, running_var : array
        Read; of shape (C,), as in the forward pass.
    eps : float >= 0
        Value that was added to the variance.
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
    As PyTorch's native_batch_norm_backward in evaluation mode. It is used for fine-tuning with frozen statistics,
    saliency maps and adversarial examples.

    References
    ----------
    As `batch_norm_forward`, Algorithm 2, line 11: y is linear in x.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import batch_norm_backward_inference
    >>> x, dy = np.array([[1], [3]], np.float32), np.array([[1], [2]], np.float32)
    >>> mean, var = np.array([1], np.float32), np.array([4], np.float32)
    >>> dx, dweight, dbias = batch_norm_backward_inference(dy, x, None, mean, var, eps=0.0)
    >>> dx.ravel(), dweight, dbias
    (array([0.5, 1. ], dtype=float32), array([2.], dtype=float32), array([3.], dtype=float32))
    """
    return norm.backward_inference(
        dy, x, weight, running_mean, running_var, y, out, axis, eps, activation, residual, backend, num_threads, stream
    )
