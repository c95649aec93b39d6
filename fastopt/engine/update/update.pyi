from collections.abc import Callable
from typing import Any

class Update:
    rule: Callable[..., Any]
    prepare: Callable[..., tuple[float, ...]]
    reference: Callable[..., None] | None
    scale: str
    backend: str
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    def __init__(
        self,
        rule: Callable[..., Any],
        prepare: Callable[..., Any],
        reference: Callable[..., None] | None = None,
        *,
        scale: str = "grad_scale",
        backend: str = "cython",
    ) -> None: ...

class Variants:
    updates: dict[Any, Update]
    only: Update | None
    condition: str | Callable[..., bool] | None
    asked: tuple[str, ...]
    optional: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    def __init__(
        self,
        updates: dict[Any, Update],
        condition: str | Callable[..., bool] | None = None,
        optional: tuple[tuple[str, str], ...] = (),
    ) -> None: ...
    def update_for(self, values: dict[str, Any]) -> Update: ...
