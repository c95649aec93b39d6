"""Names for what public functions take."""

from __future__ import annotations

from typing import Any, Literal, SupportsFloat, SupportsIndex, TypeAlias

#: A NumPy array, or an object whose memory the buffer protocol, DLPack or ``__cuda_array_interface__`` gives; which,
#: intake says at run time.
Array: TypeAlias = Any

#: Any real scalar: a number, a NumPy scalar, a zero-dimensional array or tensor.
Real: TypeAlias = SupportsFloat | SupportsIndex

#: Who compiles the kernel that runs. None: "cython" for host arrays, "cuda" for those on a device.
Backend: TypeAlias = Literal["cython", "numba", "cuda", "reference"] | None

#: The CUDA stream that device arrays are updated on: a handle, or an object of PyTorch, CuPy, Numba or cuda-core. None:
#: the one that the arrays are in use on.
Stream: TypeAlias = Any

#: What a norm applies to its result; None: nothing.
Activation: TypeAlias = Literal["relu"] | None

#: Where a norm's results go: the first, or each (None: into a new array).
Out: TypeAlias = Array | tuple[Array | None, ...] | None
