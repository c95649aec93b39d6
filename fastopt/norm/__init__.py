"""Normalisation, forward and backward: batch, layer, instance and group norm.

What all norms share
====================
**One formula.** A norm divides x into sets of values and normalises each set to mean 0 and variance 1. Each channel
(in layer norm, each feature) is then scaled and shifted by its own weight and bias. M is the number of values in a set.

    mean = sum(x) / M
    rstd = 1 / sqrt(sum((x - mean)^2) / M + eps)
    x_hat = (x - mean) * rstd
    y = weight * x_hat + bias

The norms differ in the sets:

    batch       all values of a channel             also has running statistics, for inference
    layer       all values of a sample, or those of its last axes
    instance    the values of one sample and channel
    group       the values of one sample and some neighbouring channels

**axis** is the channel axis: 1 for (N, C) and (N, C, ...), -1 for channels last. Axis 0 is the sample axis. In layer
norm, axis is the first of the axes that are normalised together, and may be 0.

**Backward** functions take x and the mean and rstd that forward returned. The sums for dweight and dbias are over all
values that share a weight; mean(...) is the mean over a set.

    dbias = sum(dy)
    dweight = sum(dy * x_hat)
    dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat))          g = weight * dy

**residual and activation** are fused: ``y = relu(weight * x_hat + bias + residual)`` takes one pass over memory in
place of three. Either may be None. With an activation, backward needs ``y`` as forward returned it: dy is replaced by 0
where y <= 0. With ``residual=True``, backward returns a fourth result, dresidual, the gradient of the residual, which
is dy after this replacement. relu(NaN) is NaN.

**Arrays** are of the kinds that updates take (`fastopt.updates`), each of its own dtype. A call computes in float32, or
in float64 if one of its arrays is float64. Groups of eight terms are summed in that type, the groups in float64; values
derived from sums are float64. Results are rounded to their arrays' dtypes. x has two axes or more; in layer norm, one
or more. Only running statistics and results are written.

**weight, bias**: None means ones and zeros; their gradients are still returned.

**Results** are new arrays. y, dx and dresidual have x's dtype, shape and memory order. mean, rstd, dweight and dbias
are float32, or float64 if the call computes in float64. ``out`` gives arrays to use instead: one array for the first
result, or a tuple for all results, with None for each new array. These are written and returned; they may have any
dtype and strides, and must not overlap another array.

**Special sets.** A constant set gives exactly bias, even if eps is 0: variance + eps is at least the smallest normal
number (1.2e-38 in float32). An empty set has mean 0 and variance 0. NaN and infinity affect only their own set. A
negative variance, which only a caller can pass, gives NaN.

**Statistics** have the same bits for every number of threads, memory layout and instruction set: the order of additions
depends only on the shape. In float32, the error of the variance is about 1e-8, and 3e-5 at worst. A mean that is large
relative to the standard deviation causes no error in y. Backward uses the rounded mean: in float32, a mean of 1e6
standard deviations causes an error of up to 0.03 in x_hat. docs/numerics.md describes how sums are computed.

**backend, num_threads, stream** are those of updates: see `fastopt.updates`. All backends but ``"reference"`` give the
same bits. A call for device arrays returns once all its work is enqueued; it copies nothing to the host and does not
wait. New results are device arrays of the same kind as x: of PyTorch, CuPy or Numba, or else an object with
``__cuda_array_interface__``, whose memory is freed in the order of the stream on which it was allocated. bfloat16
results that are not PyTorch's require ``out``.

Raises
------
ValueError
    An array has an unexpected shape, is misaligned, or overlaps one that is written; axis, groups, eps or momentum is
    out of its range; y or one of the two running statistics is missing; the activation or backend is unknown.
TypeError
    An argument is not an array; an array has an unsupported dtype or byte order, or is read-only and would be written;
    a number is not real, or ``axis`` or ``groups`` is not an integer.
BackendUnavailable
    The backend cannot run here: arrays are on a CUDA device and numba-cuda or its driver is missing; or
    `DatasetStatistics` is given a device array.

Objects
-------
`BatchNorm`, `LayerNorm`, `InstanceNorm` and `GroupNorm` hold weight, bias, running statistics, the inputs of backward
and the result arrays. `DatasetStatistics` accumulates mean and variance of a whole data set, batch by batch.

Differences from PyTorch and Keras
----------------------------------
Defaults and conventions are PyTorch's. Keras has eps=1e-3 in all norms, and channels last. The notes of each function
list the other differences.
"""

from fastopt.norm.objects import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from fastopt.norm.statistics import DatasetStatistics

__all__ = ["BatchNorm", "DatasetStatistics", "GroupNorm", "InstanceNorm", "LayerNorm"]

__dir__ = __all__.copy
