"""Accumulation of the gradients of several backward passes."""

from __future__ import annotations

from fastopt.coefficients.ranges import ANY
from fastopt.common.types import Array, Backend, Real, Stream
from fastopt.engine.core.hyperparameters import Hyperparameters
from fastopt.engine.update.run import run
from fastopt.rules import update as rules
from fastopt.specs.updates import declare

__all__ = ["accumulate"]


_beta = Hyperparameters("beta", ranges={"beta": ANY})


def _accumulate_coefficients(alpha, beta):
    return alpha, 0.0, 0.0, beta


def _accumulate_anew_coefficients(alpha, beta):
    return alpha, 0.0, 0.0


def goes_on(beta: Real) -> bool:
    """True if the sum continues from the values in acc, False if it is overwritten."""
    return bool(_beta(beta)[0] != 0.0)


def _accumulate_reference(acc, grad, *, alpha, beta):
    """The operation axpby of Blackford et al. 2002: acc = beta acc + alpha grad; with beta = 0, acc is not read."""
    acc[...] = alpha * grad + beta * acc if beta != 0 else alpha * grad


ACCUMULATE = declare(
    "accumulate",
    {True: rules.accumulate, False: rules.accumulate_anew},
    {True: _accumulate_coefficients, False: _accumulate_anew_coefficients},
    _accumulate_reference,
    ranges={"alpha": ANY, "beta": ANY},
    condition=goes_on,
    scale="alpha",
)


def accumulate(
    acc: Array,
    grad: Array,
    *,
    alpha: Real = 1.0,
    beta: Real = 1.0,
    backend: Backend = None,
    num_threads: int | None = None,
    stream: Stream = None,
) -> None:
    """Add a gradient to a sum, to accumulate several backward passes before one step.

        acc = beta * acc + alpha * grad         (beta = 0: acc = alpha * grad)

    Parameters
    ----------
    acc, grad : array of float16, bfloat16, float32 or float64
        acc is updated, grad is read; any shape, which all arrays share. With beta = 0, acc is not read: it may hold NaN
        or be uninitialised.
    alpha : float
        Factor that multiplies grad: the weight of its batch, 1 / number of batches, or 1 / loss scale.
    beta : float
        Factor that multiplies acc: 1 adds to the sum, 0 overwrites it.
    backend, num_threads, stream : optional
        See `fastopt.updates`.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As for every update: see `fastopt.updates`.

    Notes
    -----
    With a float32 acc, 16-bit gradients are summed in float32. In bfloat16, the sum of 1,000 gradients of 1 is 256,
    because 257 is not representable. PyTorch's ``backward()`` adds to a ``.grad`` of the parameter's own dtype.

    Only beta = 0 skips a multiplication: with alpha = 0, an infinite element of grad gives NaN. beta selects the kernel
    on the host, so a beta that is on a CUDA device is refused.

    References
    ----------
    L. S. Blackford et al., "An Updated Set of Basic Linear Algebra Subprograms (BLAS)", 2002: axpby. J. J. Dongarra et
    al., "A Set of Level 3 Basic Linear Algebra Subprograms", 1990, for the convention that beta = 0 does not read acc.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import accumulate
    >>> acc = np.empty(2, np.float32)
    >>> for number, grad in enumerate([[1.0, 2.0], [3.0, 6.0]]):
    ...     accumulate(acc, np.array(grad, np.float16), alpha=0.5, beta=0.0 if number == 0 else 1.0)
    >>> acc
    array([2., 4.], dtype=float32)
    """
    run(ACCUMULATE, (acc, grad), (alpha, beta), backend, num_threads, stream)
