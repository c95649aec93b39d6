"""The plain NumPy formula of every norm, as in its paper: the reference for the fast kernels.

With float64 arrays, these functions are the oracle of the tests; with float32 arrays, they are the naive implementation
of the benchmarks, as a NumPy user would write it. They compute in the arrays' own type, with variances in a second
pass, and take every hyperparameter by name; the public functions have the defaults. Running statistics are updated in
place. Results are new arrays, except that a residual's gradient is dy itself if there is no activation.

All norms use the same two formulas, `_forward` and `_backward`. They differ in two sets of axes: ``over``, the axes of
the values that share a mean and a variance, and ``shared``, those of the values that share weight and bias.
"""

from __future__ import annotations

from math import prod

import numpy as np

# Code that all norms share.


def _forward(x, weight, bias, over, shared, eps, residual, activation):
    """Return y, mean, rstd and the biased variance."""
    mean = _mean(x, over)
    var = _mean((x - mean) ** 2, over)
    rstd = _rstd(var, eps)
    y = _output((x - mean) * rstd, weight, bias, shared, residual, activation)
    return y, mean.squeeze(over), rstd.squeeze(over), var.squeeze(over)


def _backward(dy, x, weight, mean, rstd, over, shared, y, activation, residual):
    """Return dx, dweight, dbias and, if residual is true, dresidual."""
    rstd = np.expand_dims(rstd, over)
    x_hat = (x - np.expand_dims(mean, over)) * rstd
    g, *gradients = _output_gradients(dy, x_hat, weight, shared, y, activation, residual)
    dx = rstd * (g - _mean(g, over) - x_hat * _mean(g * x_hat, over))
    return dx, *gradients


def _output(x_hat, weight, bias, shared, residual, activation):
    """Return relu(weight * x_hat + bias + residual), without the terms that are None."""
    y = x_hat if weight is None else np.expand_dims(weight, shared) * x_hat
    y = y if bias is None else y + np.expand_dims(bias, shared)
    y = y if residual is None else y + residual
    return y if activation is None else np.maximum(y, 0)


def _output_gradients(dy, x_hat, weight, shared, y, activation, residual):
    """Return the gradients of x_hat, weight, bias and, if residual is true, of the residual."""
    dy = dy if activation is None else np.where(y <= 0, 0, dy)
    g = dy if weight is None else np.expand_dims(weight, shared) * dy
    return g, (dy * x_hat).sum(shared), dy.sum(shared), *([dy] if residual else [])


def _mean(values, axes):
    """Return the mean over the axes, with keepdims; it is 0 if there are no values."""
    return values.sum(axes, keepdims=True) / max(1, prod(values.shape[axis] for axis in axes))


def _rstd(var, eps):
    """Return 1 / sqrt(var + eps), which is finite even if both are 0."""
    return 1 / np.maximum(np.sqrt(var + eps), np.sqrt(np.finfo(var.dtype).tiny))


def _all_but(x, *axes):
    """Return the other axes of x."""
    return tuple(axis for axis in range(x.ndim) if axis not in {kept % x.ndim for kept in axes})


# Batch norm: the values of a channel share everything.


def batch_norm_forward(
    x, weight=None, bias=None, running_mean=None, running_var=None, *,
    momentum, eps, axis, unbiased, residual, activation,
):  # fmt: skip
    """Batch normalisation in training (Ioffe & Szegedy 2015, Algorithm 1), with PyTorch's running statistics."""
    over = _all_but(x, axis)
    y, mean, rstd, var = _forward(x, weight, bias, over, over, eps, residual, activation)
    values = prod(x.shape[axis] for axis in over)
    if running_mean is not None and values:
        _move(running_mean, mean, momentum)
        if not unbiased:
            _move(running_var, var, momentum)
        elif values > 1:  # one value has no unbiased variance
            _move(running_var, var * (values / (values - 1)), momentum)
    return y, mean, rstd


def _move(running, batch, momentum):
    """Update a running statistic, without terms of weight 0, because 0 * inf is NaN."""
    if momentum == 1:
        running[...] = batch
    elif momentum != 0:
        running[...] = (1 - momentum) * running + momentum * batch


def batch_norm_backward(dy, x, weight, mean, rstd, *, axis, y, activation, residual):
    """Gradients of batch normalisation in training (Ioffe & Szegedy 2015, section 3, multiplied out)."""
    over = _all_but(x, axis)
    return _backward(dy, x, weight, mean, rstd, over, over, y, activation, residual)


def batch_norm_inference(x, weight, bias, running_mean, running_var, *, eps, axis, residual, activation):
    """Batch normalisation with given statistics (Ioffe & Szegedy 2015, Algorithm 2)."""
    over = _all_but(x, axis)
    mean, rstd = np.expand_dims(running_mean, over), np.expand_dims(_rstd(running_var, eps), over)
    return _output((x - mean) * rstd, weight, bias, over, residual, activation)


def batch_norm_backward_inference(
    dy, x, weight, running_mean, running_var, *, eps, axis, y, activation, residual
):  # fmt: skip
    """Gradients of batch normalisation with given statistics, which are constants."""
    over = _all_but(x, axis)
    mean, rstd = np.expand_dims(running_mean, over), np.expand_dims(_rstd(running_var, eps), over)
    g, *gradients = _output_gradients(dy, (x - mean) * rstd, weight, over, y, activation, residual)
    return rstd * g, *gradients


# Instance norm: the values of one sample and channel share a mean, those of a channel a weight.


def instance_norm_forward(x, weight=None, bias=None, *, axis, eps, residual, activation):
    """Instance normalisation (Ulyanov et al. 2016, equation 4)."""
    return _forward(x, weight, bias, _all_but(x, 0, axis), _all_but(x, axis), eps, residual, activation)[:3]


def instance_norm_backward(dy, x, weight, mean, rstd, *, axis, y, activation, residual):
    """Gradients of instance normalisation."""
    return _backward(dy, x, weight, mean, rstd, _all_but(x, 0, axis), _all_but(x, axis), y, activation, residual)


# Layer norm: the values along the last axes share a mean, those along the first axes a weight.


def layer_norm_forward(x, weight=None, bias=None, *, axis, eps, residual, activation):
    """Layer normalisation (Ba et al. 2016, equations 3 and 4)."""
    axes = tuple(range(x.ndim))
    return _forward(x, weight, bias, axes[axis:], axes[:axis], eps, residual, activation)[:3]


def layer_norm_backward(dy, x, weight, mean, rstd, *, axis, y, activation, residual):
    """Gradients of layer normalisation."""
    axes = tuple(range(x.ndim))
    return _backward(dy, x, weight, mean, rstd, axes[axis:], axes[:axis], y, activation, residual)


# Group norm: the channel axis is split in two, the groups and the channels of a group.


def group_norm_forward(x, weight=None, bias=None, *, groups, axis, eps, residual, activation):
    """Group normalisation (Wu & He 2018, equations 1 to 7)."""
    axis %= x.ndim
    split, residual = _split(x, groups, axis), _split(residual, groups, axis)
    weight, bias = _split(weight, groups, 0), _split(bias, groups, 0)
    over, shared = _all_but(split, 0, axis), _all_but(split, axis, axis + 1)
    y, mean, rstd, _ = _forward(split, weight, bias, over, shared, eps, residual, activation)
    return y.reshape(x.shape), mean, rstd


def group_norm_backward(dy, x, weight, mean, rstd, *, groups, axis, y, activation, residual):
    """Gradients of group normalisation."""
    axis %= x.ndim
    split, dy, y = (_split(array, groups, axis) for array in (x, dy, y))
    over, shared = _all_but(split, 0, axis), _all_but(split, axis, axis + 1)
    dx, dweight, dbias, *dresidual = _backward(
        dy, split, _split(weight, groups, 0), mean, rstd, over, shared, y, activation, residual
    )
    return dx.reshape(x.shape), dweight.ravel(), dbias.ravel(), *(d.reshape(x.shape) for d in dresidual)


def _split(array, groups, axis):
    """Return the array, if there is one, with its axis of C channels split in two, of lengths groups and C / groups."""
    if array is None:
        return None
    before, channels, after = array.shape[:axis], array.shape[axis], array.shape[axis + 1 :]
    return array.reshape(*before, groups, channels // groups, *after)


# A residual connection without a norm.


def residual_add(x, residual, *, activation):
    """Return F(x) + x, or relu of it (He et al. 2016, equation 1 and the text below it)."""
    return _output(x, None, None, (), residual, activation)


def residual_add_backward(dy, y, *, activation):
    """Return the gradient of either term."""
    return dy.copy() if activation is None else np.where(y <= 0, 0, dy)
