from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

def column_stats(
    x: Any, features: int | None, refuse: bool, backend: str | None, num_threads: int | None, stream: Any
) -> tuple[npt.NDArray[np.float64], ...]: ...
def scale(
    x: Any, out: Any, in_place: bool, features: int, scales_of: Callable[[type], Sequence[npt.NDArray[np.float64]]],
    refuse: bool, backend: str | None, num_threads: int | None, stream: Any,
) -> npt.NDArray[Any]: ...  # fmt: skip
def readable(x: Any, features: int | None, num_threads: int | None, stream: Any) -> tuple[npt.NDArray[Any], Any]: ...
def matrices(
    x: Any, out: Any, in_place: bool, features: int, out_features: int, num_threads: int | None, stream: Any
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], Any]: ...
def refined_centres(
    count: npt.NDArray[np.float64], total: npt.NDArray[np.float64], centre: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]: ...
def refusal(value: float, feature: int, sample: int | None = None) -> ValueError: ...
def as_float(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]: ...
