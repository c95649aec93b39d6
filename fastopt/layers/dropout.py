"""Dropout, forward and backward. No mask is stored: it is recomputed from seed and offset."""

from __future__ import annotations

from typing import Literal, SupportsIndex

from fastopt.common.types import Array, Backend, Real, Result, Stream
from fastopt.engine.core.hyperparameters import Hyperparameters, flag
from fastopt.engine.core.options import one_of
from fastopt.engine.random.random import drop

_of_dropout = Hyperparameters("p")


def _probability_and_scale(p: Real, mode: str, training: bool) -> tuple[float, float]:
    """Return the probability with which elements are dropped, and the factor of the other elements."""
    (probability,) = _of_dropout(p)
    one_of("mode", mode, "inverted", "test-time")
    training = flag("training", training)
    if probability == 1 and (training or mode == "test-time"):
        return 1.0, 1.0
    if training:
        return probability, 1 / (1 - probability) if mode == "inverted" else 1.0
    return 0.0, 1.0 if mode == "inverted" else 1 - probability


def dropout_forward(
    x: Array,
    *,
    p: Real = 0.5,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    mode: Literal["inverted", "test-time"] = "inverted",
    training: bool = True,
    out: Array | None = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> Result:
    """Dropout: set random elements to zero.

        mode="inverted":   y = keep * x / (1 - p)  in training,  y = x            at test time
        mode="test-time":  y = keep * x            in training,  y = (1 - p) * x  at test time

    keep is 0 with probability p and 1 otherwise, independently for each element. It depends only on seed, offset, p and
    the element's position in C order, so backward recomputes it and no mask is stored.

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        Read; any shape and strides.
    p : float in [0, 1]
        Probability of dropping an element, rounded to a multiple of 2^-24.
    seed : int
        From 0 to 2**64 - 1. Each dropout layer needs its own, or its own offsets.
    offset : int
        From 0 to 2**56 - 1. In training, pass the number of the step, so that each step has its own mask.
    mode : {"inverted", "test-time"}
        Whether elements are rescaled in training, so that test time needs no scaling, or at test time, as in the
        paper.
    training : bool
        False at test time, when nothing is dropped.
    out : array, optional
        Written and returned; of x's shape, any dtype and strides, on x's device. It may be x itself; otherwise it must
        not overlap x.
    backend, num_threads, stream : optional
        See `fastopt.init`.

    Returns
    -------
    y : array
        out, or a new array of x's dtype, shape and memory order; on a CUDA device, as for norms (`fastopt.norm`).

    Raises
    ------
    ValueError
        If p is outside [0, 1], mode is unknown, out has another shape, overlaps x in part or is on another device, or
        the backend or stream does not match x's device.
    TypeError
        If x or out is not an array or has another dtype, out is read-only, seed or offset is not an integer, or
        training is not a bool; or if out is None and x is a bfloat16 device array that is not PyTorch's.
    BackendUnavailable
        The backend cannot run here.

    Notes
    -----
    A dropped element is 0, even if x is NaN or infinite. With p=0, y equals x bit for bit (if both have the same
    dtype); with p=1, y is all zeros. PyTorch and Keras use the inverted form, return x itself at test time, and draw
    masks from a generator with state.

    References
    ----------
    N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout: A Simple Way to Prevent Neural
    Networks from Overfitting", 2014, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import dropout_backward, dropout_forward
    >>> x = np.ones(8, np.float32)
    >>> y = dropout_forward(x, p=0.5, seed=1, offset=10)
    >>> dx = dropout_backward(np.ones(8, np.float32), p=0.5, seed=1, offset=10)
    >>> bool((dx == y).all()), sorted(set(y.tolist()))
    (True, [0.0, 2.0])
    """
    probability, scale = _probability_and_scale(p, mode, training)
    return drop(x, "x", out, probability, scale, seed, offset, backend, num_threads, stream)


def dropout_backward(
    dy: Array,
    *,
    p: Real = 0.5,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    mode: Literal["inverted", "test-time"] = "inverted",
    training: bool = True,
    out: Array | None = None,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> Result:
    """Gradient of dropout: dy times forward's factor where forward kept x, and 0 elsewhere.

        mode="inverted":   dx = keep * dy / (1 - p)  in training,  dx = dy            at test time
        mode="test-time":  dx = keep * dy            in training,  dx = (1 - p) * dy  at test time

    keep is recomputed from seed, offset and p, which must be those of forward.

    Parameters
    ----------
    dy : array of float16, bfloat16, float32 or float64
        Read; any strides, but the same shape as x, because keep depends on an element's position.
    p, seed, offset, mode, training
        As in `dropout_forward`.
    out : array, optional
        Written and returned; of dy's shape, any dtype and strides, on dy's device. It may be dy itself; otherwise it
        must not overlap dy.
    backend, num_threads, stream : optional
        See `fastopt.init`.

    Returns
    -------
    dx : array
        out, or a new array of dy's dtype, shape and memory order, as `dropout_forward` makes it.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in `dropout_forward`.

    Notes
    -----
    A dropped element has gradient 0, even if dy is NaN or infinite. PyTorch stores the mask, one byte per
    element.

    References
    ----------
    As `dropout_forward`, section 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import dropout_backward
    >>> dx = dropout_backward(np.ones((2, 3), np.float32), p=1.0, seed=1)
    >>> dx
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    probability, scale = _probability_and_scale(p, mode, training)
    return drop(dy, "dy", out, probability, scale, seed, offset, backend, num_threads, stream)
