"""The arithmetic of every normalisation, written once: scalar functions that the compilers make kernels of.

How to read them. Names before ``/`` are per element (arrays in a kernel). Names after it are parameters: one value for
each row or each column of a tile, worked out in float64 by the engine for each statistic (batch norm: a channel; layer
norm: a sample). As in ``fastopt/rules/update.py``, there is no numeric literal and no flag.

``xhat = (x - mean) * rstd``, but for one thing: a mean rounded to float32 is off by up to 0.03 where it is about 1e6,
and so the engine has ``shift = (rounded mean - mean) * rstd`` added. Where all x are equal, the mean is exact, and y is
bias. Factors are not multiplied out beforehand: where x is 1e30, ``rstd * weight`` may underflow.

The terms of sums are functions too. How they are added up is the engine's business (a fixed tree, see
``fastopt/engine/core/sum_tree.h``) and that of the backend's loop: eight terms in their own type, all else in float64.
"""

from fastopt.primitives import gate, relu

# ---- Forward


def normalise(x, /, mean, rstd, shift, weight, bias):
    return ((x - mean) * rstd + shift) * weight + bias


# What follows in the same pass, by form: nothing, the activation, the residual connection, both.


def finish(y, residual):
    return y


def finish_relu(y, residual):
    return relu(y)


def finish_residual(y, residual):
    return y + residual


def finish_residual_relu(y, residual):
    return relu(y + residual)


# ---- Backward. offset is the mean of weight * dy over the statistic's values, slope * (x - mean) that of
# ---- weight * dy * xhat, times xhat.


def input_gradient(dy, x, /, mean, rstd, slope, offset, weight):
    return rstd * (weight * dy - ((x - mean) * slope + offset))


# Where mean and rstd do not depend on x (inference).


def input_gradient_fixed(dy, /, rstd, weight):
    return rstd * (weight * dy)


# What reaches the norm of a gradient: all of it, or, by form, what the activation passed on.


def gradient(dy, y):
    return dy


def gradient_relu(dy, y):
    return gate(dy, y)


# ---- A residual connection without a norm: forward it is finished as one, backward it has a norm's gradient.


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
