from collections.abc import Callable
from typing import Any

class Update:
    rule: Callable[..., Any]
    prepare: Callable[..., tuple[float, ...]]
    reference: Callable[..., None] | None
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
        backend: str = "cython",
    ) -> None: ...
