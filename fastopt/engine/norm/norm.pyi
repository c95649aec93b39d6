from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH: int
INSTANCE: int
GROUP: int
LAYER: int

def forward(
    kind: int, x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, residual: Any, out: Any, axis: Any,
    groups: Any, momentum: Any, eps: Any, unbiased: bool, activation: str | None, backend: str | None,
    num_threads: int | None, stream: Any = None,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...  # fmt: skip
def backward(
    kind: int, dy: Any, x: Any, weight: Any, mean: Any, rstd: Any, y: Any, out: Any, axis: Any, groups: Any,
    activation: str | None, residual: bool, backend: str | None, num_threads: int | None, stream: Any = None,
) -> tuple[NDArray[Any], ...]: ...  # fmt: skip
def inference(
    x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, residual: Any, out: Any, axis: Any, eps: Any,
    activation: str | None, backend: str | None, num_threads: int | None, stream: Any = None,
) -> NDArray[Any]: ...  # fmt: skip
def backward_inference(
    dy: Any, x: Any, weight: Any, running_mean: Any, running_var: Any, y: Any, out: Any, axis: Any, eps: Any,
    activation: str | None, residual: bool, backend: str | None, num_threads: int | None, stream: Any = None,
) -> tuple[NDArray[Any], ...]: ...  # fmt: skip
def add(
    x: Any, residual: Any, out: Any, activation: str | None, backend: str | None, num_threads: int | None,
    stream: Any = None,
) -> NDArray[Any]: ...  # fmt: skip
def add_backward(
    dy: Any, y: Any, out: Any, activation: str | None, backend: str | None, num_threads: int | None, stream: Any = None
) -> NDArray[Any]: ...
def moments(
    x: Any, axis: Any, backend: str | None, num_threads: int | None
) -> tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any]]: ...
