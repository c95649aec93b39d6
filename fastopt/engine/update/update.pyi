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
