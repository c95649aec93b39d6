"""The public update functions: one file per family, the simplest first.

What all updates share
======================
**In place.** An update changes param and its state, which are the caller's own arrays, and returns None. If it raises
an error, it has written nothing.

**Arrays** are NumPy arrays, or objects that share their memory through DLPack (such as PyTorch tensors), the buffer
protocol or ``__cuda_array_interface__``. All are in host memory, or all on one CUDA device. Each may be float16,
bfloat16 (of ml_dtypes, or through DLPack), float32 or float64, independently of the others, and may have any strides.
A call computes in float32, or in float64 if one of its arrays is float64. Each value is rounded once, when it is
stored. grad may be read-only.

**Gradient.** With *coupled* weight decay, ``g = grad_scale * grad + weight_decay * param``. With *decoupled* decay,
``g = grad_scale * grad``, and the formula shrinks param separately. grad_scale may be any finite number: 1 / loss
scale, a clipping factor, -1 to maximise. A weight_decay of 0 adds no term, so an infinite param causes no NaN in g.

**Hyperparameters** are real numbers of any type, including zero-dimensional arrays. Values derived from them (bias
corrections, schedules) are computed in float64. ``step`` is 1 at the first update. ``eps`` may be 0: then 0 / 0 counts
as 0, and an element whose gradient has always been 0 does not change.

**backend** selects the compiler of the kernel: ``"cython"`` (compiled at build time; the default) or ``"numba"``
(compiled at run time; the same bits). ``"reference"`` evaluates the plain formula in float64 on copies of the arrays:
it is slow and meant for tests. Arrays on a CUDA device use ``"cuda"``, which is the default there.

**stream** is the CUDA stream on which device arrays are updated: a handle, or a stream object of PyTorch, CuPy, Numba
or cuda-core. None means the stream on which the arrays are in use: PyTorch's current stream, the stream given by
``__cuda_array_interface__``, or the legacy default stream. A call returns once the update is enqueued. The caller must
synchronise with work on other streams that uses the same arrays.

**PyTorch tensors**: an update increments the tensors' versions, by which autograd detects changes. A tensor that
requires grad is accepted only under ``torch.no_grad()``, because autograd does not record updates.

**num_threads** is 1 or more; None uses the setting of `fastopt.set_num_threads`. A call uses at most as many threads as
the process has processors available, and one thread for small arrays.

Raises
------
ValueError
    An array has another shape than param, is misaligned, overlaps another (or itself, if it is written); a number is
    out of its range, or makes a coefficient of the formula infinite in the compute type; the backend is unknown.
TypeError
    An argument is not an array; an array has an unsupported dtype or byte order, or is read-only and would be written;
    a hyperparameter is not a real number, or ``step`` is not an integer.
BackendUnavailable
    The backend cannot run here: arrays are on a CUDA device and numba-cuda or the driver is missing.

Differences from PyTorch, Keras and optax
-----------------------------------------
Defaults and conventions are PyTorch's where PyTorch has the optimizer. Keras decouples the weight decay of every
optimizer. The notes of each function list the other differences.
"""

#: The functions are names of `fastopt` itself.
__all__: list[str] = []

__dir__ = __all__.copy
