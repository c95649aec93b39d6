from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastopt.engine.update import Update

class Tensor(NamedTuple):
    label: str
    group: int
    arrays: tuple[Any, ...]
    states: tuple[str, ...] = ()
    average: Any = None
    copy: Any = None

class Layerwise(NamedTuple):
    trust: Callable[[int, float, float], float]
    scalars: tuple[str, ...]
    directed: bool

AVERAGE: Update

class Plan:
    steps: NDArray[np.int64]
    def __init__(
        self,
        tensors: list[Tensor],
        *,
        average_decay: float | None = None,
        seed: int | None = None,
        layerwise: Layerwise | None = None,
        backend: str | None = None,
        of_torch: bool = False,
    ) -> None: ...
    def set_average_decay(self, decay: float) -> None: ...
    def set_seed(self, seed: int) -> None: ...
    def step(
        self,
        choose: Callable[[int, int, Any], tuple[Update, tuple[Any, ...]]],
        given: Any,
        grad_scale: Any = 1.0,
        max_norm: float | None = None,
        max_tensor_norm: float | None = None,
        skip_nonfinite: bool = False,
        num_threads: int | None = None,
    ) -> tuple[float | None, bool]: ...
