from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastopt.engine.update.update import Update

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

class Plan:
    steps: NDArray[np.int64]
    step_count: int
    def __init__(
        self, tensors: list[Tensor], *, ngroups: int = 0, average_decay: float | None = None,
        seed: int | None = None, layerwise: Layerwise | None = None, backend: str | None = None,
        of_torch: bool = False,
    ) -> None: ...  # fmt: skip
    def alone(self, activity: str) -> AbstractContextManager[None]: ...
    def watch_state(self) -> None: ...
    @property
    def groups(self) -> list[int]: ...
    def regroup(self, groups: list[int]) -> None: ...
    def restore(
        self, step_count: int, arrays: list[tuple[NDArray[Any], NDArray[Any]]],
        dicts: list[tuple[dict[str, Any], dict[str, Any]]], *, groups: list[int] | None = None,
        average_decay: float | None = None, seed: int | None = None,
    ) -> None: ...  # fmt: skip
    def step(
        self, choose: Callable[[int, int, Any], tuple[Update, tuple[Any, ...]]], given: Any, grad_scale: Any = 1.0,
        max_norm: float | None = None, max_tensor_norm: float | None = None, skip_nonfinite: bool = False,
        num_threads: int | None = None,
    ) -> tuple[int, float | None, bool, tuple[float | None, ...]]: ...  # fmt: skip
