"""Names for what public functions take."""

from __future__ import annotations

from typing import Any, Literal, SupportsFloat, SupportsIndex, TypeAlias

#: A NumPy array, or an object whose memory the buffer protocol or DLPack gives; which, intake says at run time.
Array: TypeAlias = Any

#: Any real scalar: a number, a NumPy scalar, a zero-dimensional array or tensor.
Real: TypeAlias = SupportsFloat | SupportsIndex

#: Who compiles the kernel that runs. None: "cython".
Backend: TypeAlias = Literal["cython", "numba", "cuda", "reference"] | None

#: What a norm applies to its result; None: nothing.
Activation: TypeAlias = Literal["relu"] | None

#: Where a norm's results go: the first, or each (None: into a new array).
Out: TypeAlias = Array | tuple[Array | None, ...] | None
