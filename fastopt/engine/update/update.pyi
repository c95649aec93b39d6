from collections.abc import Callable
from typing import Any

from fastopt.engine.core.hyperparameters import Hyperparameters

class Update:
    rule: Callable[..., Any]
    coefficients: Callable[..., tuple[float, ...]]
    reference: Callable[..., None] | None
    scale: str
    backend: str
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    check: Hyperparameters
    def __init__(
        self, rule: Callable[..., Any], coefficients: Callable[..., Any], reference: Callable[..., None] | None = None,
        *, ranges: dict[str, Any] | None = None, scale: str = "grad_scale", backend: str = "cython",
    ) -> None: ...  # fmt: skip
    def prepare(self, hyperparameters: tuple[Any, ...]) -> tuple[float, ...]: ...

class Variants:
    updates: dict[Any, Update]
    only: Update | None
    condition: str | Callable[..., bool] | None
    asked: tuple[str, ...]
    optional: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    def __init__(
        self, updates: dict[Any, Update], condition: str | Callable[..., bool] | None = None,
        optional: tuple[tuple[str, str], ...] = (),
    ) -> None: ...  # fmt: skip
    def update_for(self, values: dict[str, Any]) -> Update: ...
