"""Dropout, forward and backward, and no mask is kept: which elements are dropped follows from seed and offset."""

from __future__ import annotations

from typing import Literal, SupportsIndex

from fastopt.common.types import Array, Backend, Real, Result, Stream
from fastopt.engine.core.hyperparameters import Hyperparameters, flag
from fastopt.engine.core.options import one_of
from fastopt.engine.random.random import drop

_of_dropout = Hyperparameters("p")


def _probability_and_scale(p: Real, mode: str, training: bool) -> tuple[float, float]:
    """Return with which probability elements are dropped, and what is left is multiplied by."""
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
    """Dropout: zeros in the place of elements taken at random.

        mode="inverted":   y = keep * x / (1 - p)  in training,  y = x            at test time
        mode="test-time":  y = keep * x            in training,  y = (1 - p) * x  at test time

    keep is 0 with probability p, else 1, for each element by itself. It follows from seed, offset, p and the element's
    place in C order, and from nothing else: so backward makes the same again, and nothing is kept.

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        Read; any shape and strides.
    p : float in [0, 1]
        Probability that an element is dropped, rounded to a multiple of 2^-24.
    seed : int
        From 0 to 2**64 - 1; for each dropout layer its own, or else its own offsets.
    offset : int
        From 0 to 2**56 - 1; in training the number of the step, so that each has a mask of its own.
    mode : {"inverted", "test-time"}
        When what is kept is rescaled: in training, so that nothing is left to do at test time; or at test time, as in
        the paper.
    training : bool
        False at test time: nothing is dropped.
    out : array, optional
        Written and returned; of x's shape, any dtype and strides, where x is. It may be x itself; else it overlaps it
        nowhere.
    backend, num_threads, stream : optional
        See `fastopt.init`.

    Returns
    -------
    y : array
        out, or a new array of x's dtype, shape and memory order; on a CUDA device, as norms make it (`fastopt.norm`).

    Raises
    ------
    ValueError
        If p is outside [0, 1], mode is unknown, out has another shape, overlaps x in part or is on another device, or
        the backend or a stream is not of where they are.
    TypeError
        If x or out is no array, or of another dtype, out is read-only, seed or offset is not a whole number, or
        training not a bool; or if out is None and x is an array of bfloat16 on a device, but not PyTorch's.
    BackendUnavailable
        The backend can't run here.

    Notes
    -----
    A dropped element is 0, also where x is NaN or infinite. With p=0, y is x bit for bit (where both are stored alike);
    with p=1, all zeros. PyTorch and Keras have the inverted form, return x itself at test time, and draw masks from a
    generator with state.

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
    """Gradient of dropout: dy where forward kept x, times what it was multiplied by; else 0.

        mode="inverted":   dx = keep * dy / (1 - p)  in training,  dx = dy            at test time
        mode="test-time":  dx = keep * dy            in training,  dx = (1 - p) * dy  at test time

    keep is made again from seed, offset and p, which have to be those of forward.

    Parameters
    ----------
    dy : array of float16, bfloat16, float32 or float64
        Read; any strides, and the shape that x had, for elements are known by their place.
    p, seed, offset, mode, training
        As in `dropout_forward`.
    out : array, optional
        Written and returned; of dy's shape, any dtype and strides, where dy is. It may be dy itself; else it overlaps
        it nowhere.
    backend, num_threads, stream : optional
        See `fastopt.init`.

    Returns
    -------
    dx : array
        out, or a new array of dy's dtype, shape and memory order, as `dropout_forward` makes it.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As `dropout_forward`.

    Notes
    -----
    What was dropped has a gradient of 0, also where dy is NaN or infinite. PyTorch keeps the mask, a byte for each
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
