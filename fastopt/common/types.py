"""Type aliases for the arguments and results of public functions."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, SupportsIndex, TypeAlias, TypedDict

from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from typing_extensions import Unpack as Unpack
else:  # Python 3.10 has no Unpack: evaluated annotations show the dict itself
    Unpack = getattr(typing, "Unpack", typing.Union)

#: A NumPy array, or an object that shares its memory through the buffer protocol, DLPack or
#: ``__cuda_array_interface__``; this is checked at run time.
Array: TypeAlias = Any

#: Any real scalar: a number, a NumPy scalar, a zero-dimensional array or tensor.
Real: TypeAlias = SupportsFloat | SupportsIndex

#: The compiler of the kernel. None: "cython" for host arrays, "cuda" for device arrays.
Backend: TypeAlias = Literal["cython", "numba", "cuda", "reference"] | None

#: The CUDA stream on which device arrays are updated: a handle, or an object of PyTorch, CuPy, Numba or cuda-core.
#: None: the stream on which the arrays are in use.
Stream: TypeAlias = Any

#: The activation that a norm applies to its result, or None.
Activation: TypeAlias = Literal["relu"] | None

#: The arrays for a norm's results: the first, or each (None: a new array).
Out: TypeAlias = Array | tuple[Array | None, ...] | None

#: The result of functions for host arrays. For device arrays, it is a device array of the kind of the input.
Result: TypeAlias = NDArray[Any]

#: The parameters of an optimizer: arrays, arrays by name, nested or not, or groups with their own hyperparameters.
Params: TypeAlias = Iterable[Array] | Mapping[str, Any]

#: Their gradients, in the same order or by the same names.
Grads: TypeAlias = Iterable[Array | None] | Mapping[str, Any]


class OptimizerOptions(TypedDict, total=False):
    """The options of every optimizer besides its hyperparameters: see `fastopt.optim`."""

    state_dtype: DTypeLike | None
    master_weights: bool
    stochastic_rounding: int | None
    ema_decay: Real | None
    backend: Literal["cython", "numba"] | None
    num_threads: int | None


class BackwardOptions(TypedDict, total=False):
    """The keyword arguments of all norms' backward functions, except ``residual``, which sets the number of results."""

    axis: SupportsIndex
    y: Array | None
    activation: Activation
    out: Out
    backend: Backend
    num_threads: int | None
    stream: Stream
