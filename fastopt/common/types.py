"""Names for what public functions take and return."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, SupportsIndex, TypeAlias, TypedDict

from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from typing_extensions import Unpack as Unpack
else:  # Python 3.10 has no Unpack: annotations that are evaluated there show the dict itself
    Unpack = getattr(typing, "Unpack", typing.Union)

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

#: What functions return for host arrays. For device arrays it is an array on the device, of the kind that was given.
Result: TypeAlias = NDArray[Any]

#: What an optimizer updates: arrays, arrays by name, nested or not, or groups with hyperparameters of their own.
Params: TypeAlias = Iterable[Array] | Mapping[str, Any]

#: The gradients of those, in the same order or by the same names.
Grads: TypeAlias = Iterable[Array | None] | Mapping[str, Any]


class OptimizerOptions(TypedDict, total=False):
    """What every optimizer takes beside its hyperparameters: see `fastopt.optim`."""

    state_dtype: DTypeLike | None
    master_weights: bool
    stochastic_rounding: int | None
    ema_decay: Real | None
    backend: Literal["cython", "numba"] | None
    num_threads: int | None


class BackwardOptions(TypedDict, total=False):
    """What the backward functions of all norms take by keyword, but for ``residual``: how many results there are."""

    axis: SupportsIndex
    y: Array | None
    activation: Activation
    out: Out
    backend: Backend
    num_threads: int | None
    stream: Stream
