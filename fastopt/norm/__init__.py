"""Normalisation, forward and backward: over a batch, a layer, an instance, a group of channels.

What all norms share
====================
**One formula.** A norm divides x into sets of values, and gives each set a mean of 0 and a variance of 1; then each
channel (in layer norm: each feature) its own scale and offset. M is the number of values in a set.

    mean = sum(x) / M
    rstd = 1 / sqrt(sum((x - mean)^2) / M + eps)
    x_hat = (x - mean) * rstd
    y = weight * x_hat + bias

A norm is a choice of the sets:

    batch       all values of a channel             also has running statistics, for inference
    layer       all values of a sample, or those of its last axes
    instance    the values of one sample and channel
    group       the values of one sample and some neighbouring channels

**axis** is the axis of the channels: 1 for (N, C) and (N, C, ...), -1 for channels last. Axis 0 is that of the samples.
In layer norm it is the first of the axes that are normalised together, and may be 0.

**Backward** functions take x and what forward returned of it, mean and rstd. The sums of dweight and dbias run over all
values that share a weight; mean(...) stands for the mean over a set.

    dbias = sum(dy)
    dweight = sum(dy * x_hat)
    dx = rstd * (g - mean(g) - x_hat * mean(g * x_hat))          g = weight * dy

**residual and activation** are fused: ``y = relu(weight * x_hat + bias + residual)`` takes one pass over the memory,
not three. Either may be left out (None). With an activation, backward needs ``y``, as forward returned it: dy counts as
0 where y <= 0. ``residual=True`` asks for a fourth result: dresidual, the gradient of the residual, which is that dy.
relu(NaN) is NaN.

**Arrays** are of the kinds that updates take (`fastopt.updates`), each of its own dtype. A call computes in float32, or
in float64 if one of its arrays is float64. Sums add up eight terms in that type and all else in float64, and what
follows from them is float64; a result is rounded once more if its array stores fewer bits. x has two axes or more; in
layer norm, one or more. Nothing is written but running statistics and results.

**weight, bias** of None count as ones and zeros; their gradients are returned nonetheless.

**Results** are new arrays: y, dx and dresidual of x's dtype, shape and memory order; mean, rstd, dweight and dbias
float32, or float64 if the call computes in float64. ``out`` gives arrays to use in their place: one, for the first
result, or a tuple for all, with None for each that is to be new. Those are written and returned, may have any dtype and
strides, and overlap no other array.

**Special sets.** A constant set gives exactly bias, also if eps is 0: the least variance + eps is the smallest normal
number (1.2e-38 in float32). An empty set has a mean of 0 and a variance of 0. NaN and infinity spread over their own
set and no further. A negative variance, which only a caller can give, makes NaN.

**Statistics** have the same bits for every number of threads, memory layout and instruction set: only the shape decides
the order of additions. In float32 the variance is right to about 1e-8, and to 3e-5 at worst. A mean that is large
beside the standard deviation costs y nothing. Backward takes it as it was rounded: in float32, a mean of a million
standard deviations makes x_hat wrong by up to 0.03. docs/numerics.md says how sums are computed.

**backend, num_threads, stream** are those of updates: see `fastopt.updates`. All backends but ``"reference"`` give the
same bits. A call for device arrays returns when all of it is in the stream: nothing is copied to the host, and nothing
waits. New results are on the device, of the kind that x is: of PyTorch, CuPy or Numba, or else an object with
``__cuda_array_interface__``, whose memory is given back in the order of the stream that it was made on. bfloat16
results that are not PyTorch's ask for ``out``.

Raises
------
ValueError
    An array has another shape than is asked for, is misaligned, or overlaps one that is written; axis, groups, eps or
    momentum is out of its range; y is missing, or one of two running statistics; the activation or backend is unknown.
TypeError
    Something that is no array is given for one; an array is of another dtype or byte order, or is read-only and would
    be written; a number is not a real one, or ``axis`` or ``groups`` not a whole one.
BackendUnavailable
    The backend can't run here: arrays lie on a CUDA device and numba-cuda is missing, or its driver is; or
    `DatasetStatistics` is given a device's array.

Objects
-------
`BatchNorm`, `LayerNorm`, `InstanceNorm` and `GroupNorm` hold weight, bias, running statistics, what backward needs, and
the arrays of results; `DatasetStatistics` gathers mean and variance of a whole data set, batch by batch.

Beside PyTorch and Keras
------------------------
Defaults and conventions are PyTorch's. Keras has eps=1e-3 everywhere, and the channels last. What else differs, each
function's notes say.
"""

from fastopt.norm.objects import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from fastopt.norm.statistics import DatasetStatistics

__all__ = ["BatchNorm", "DatasetStatistics", "GroupNorm", "InstanceNorm", "LayerNorm"]

__dir__ = __all__.copy
