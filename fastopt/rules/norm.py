"""The arithmetic of every normalisation, written once: scalar functions from which the compilers make kernels.

How to read them. Names before ``/`` are per element (arrays in a kernel). Names after it are parameters: one value for
each row or column of a tile, which the engine computes in float64 for each statistic (batch norm: a channel; layer
norm: a sample). As in ``fastopt/rules/update.py``, there are no numeric literals and no flags.

``xhat = (x - mean) * rstd``, with one correction: a mean of about 1e6, rounded to float32, has an error of up to 0.03,
so the engine adds ``shift = (rounded mean - mean) * rstd``. If all x are equal, the mean is exact, and y is bias.
Factors are not multiplied in advance, because ``rstd * weight`` may underflow if x is 1e30.

The terms of sums are functions too. The engine (a fixed tree, see ``fastopt/engine/core/sum_tree.h``) and the backend's
loop add them up: eight terms in their own type, everything else in float64.
"""

from fastopt.primitives import gate, relu

# ---- Forward


def normalise(x, /, mean, rstd, shift, weight, bias):
    return ((x - mean) * rstd + shift) * weight + bias


# The end of the same pass, by variant: nothing, the activation, the residual connection, or both.


def finish(y, residual):
    return y


def finish_relu(y, residual):
    return relu(y)


def finish_residual(y, residual):
    return y + residual


def finish_residual_relu(y, residual):
    return relu(y + residual)


# ---- Backward. offset is the mean of weight * dy over the statistic's values; slope * (x - mean) is xhat times the
# ---- mean of weight * dy * xhat.


def input_gradient(dy, x, /, mean, rstd, slope, offset, weight):
    return rstd * (weight * dy - ((x - mean) * slope + offset))


# For constant mean and rstd (inference).


def input_gradient_fixed(dy, /, rstd, weight):
    return rstd * (weight * dy)


# The gradient that reaches the norm, by variant: all of dy, or the part that the activation passes.


def gradient(dy, y):
    return dy


def gradient_relu(dy, y):
    return gate(dy, y)


# ---- A residual connection without a norm: forward, it is finished like a norm; backward, it has a norm's gradient.


def unchanged(x, /):
    return x


def unchanged_gradient(dy, /):
    return dy


# ---- The terms of sums


def deviations(x, /, centre):
    deviation = x - centre
    return deviation, deviation * deviation


def gradient_terms(dy, x, /, mean, rstd):
    return dy, dy * ((x - mean) * rstd)


def weighted_gradient_terms(dy, x, weight, /, mean, rstd):
    weighted = weight * dy
    return weighted, weighted * ((x - mean) * rstd)
