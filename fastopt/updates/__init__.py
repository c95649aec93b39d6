"""The public updates: one file per family, the simplest first.

What all updates share
======================
**In place.** An update changes param and its state, which are the caller's own arrays, and returns None. It raises
before it writes anything.

**Arrays** are NumPy arrays, or objects that share their memory through DLPack (PyTorch tensors, for one), the buffer
protocol or ``__cuda_array_interface__``: all in the host's memory, or all on one CUDA device. Each is float16, bfloat16
(of ml_dtypes, or through DLPack), float32 or float64, whatever the others are, and may have any strides. A call
computes in float32, or in float64 if one of its arrays is float64, and rounds a value once, when it stores
it. grad may be read-only.

**Gradient.** ``g = grad_scale * grad + weight_decay * param`` where the decay is *coupled*. Where it is *decoupled*,
g is ``grad_scale * grad``, and the formula shrinks param by itself. grad_scale may be any finite number: 1 / loss
scale, a clipping factor, -1 to maximise. A weight_decay of 0 is left out, so that an infinite param stays what it is.

**Hyperparameters** are real numbers of any type, a zero-dimensional array included. What follows from them (bias
corrections, schedules) is computed in float64. ``step`` is 1 at the first update. ``eps`` may be 0: then 0 / 0 counts
as 0, and an element that never had a gradient stays where it is.

**backend** says who compiled the kernel: ``"cython"`` (the build; also what None means) or ``"numba"`` (now; the same
bits). ``"reference"`` is the plain formula in float64, for checks: slow, and with copies of the arrays. For arrays on a
CUDA device it is ``"cuda"``, which None means there.

**stream** is the CUDA stream that device arrays are updated on: a handle, or an object of PyTorch, CuPy, Numba or
cuda-core that has one. None means the stream that the arrays are in use on: PyTorch's current one, or what
``__cuda_array_interface__`` says, or the legacy default stream. A call returns when the update is in the stream. What
other streams do with the arrays, the caller orders.

**PyTorch's tensors**: autograd learns by their versions that they have changed. One that requires grad
is accepted under ``torch.no_grad()`` and refused elsewhere, for autograd does not record updates.

**num_threads** is 1 or more; None leaves it to `fastopt.set_num_threads`. No more are used than the processors that
the process may use, and one where the arrays are small.

Raises
------
ValueError
    An array has another shape than param, is misaligned, overlaps another (or itself, if it is written); a number is
    out of its range, or makes a scalar of the formula infinite in the compute type; the backend is unknown.
TypeError
    Something that is no array is given for one; an array is of another dtype or byte order, or is read-only and would
    be written; a hyperparameter is not a real number, or ``step`` not a whole one.
BackendUnavailable
    The backend can't run here: arrays lie on a CUDA device and numba-cuda is missing, or its driver is.

Beside PyTorch, Keras and optax
-------------------------------
Defaults and conventions are PyTorch's where PyTorch has the optimizer. Keras decouples the weight decay of every
optimizer. What else differs, each function's notes say.
"""

#: The functions are names of `fastopt` itself.
__all__: list[str] = []

__dir__ = __all__.copy
