from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

class Filling:
    def __init__(self, name: str, prepare: Callable[..., Any], reference: Callable[..., Any]) -> None: ...

def fill(
    filling: Filling,
    param: Any,
    hyperparameters: tuple[Any, ...],
    seed: Any,
    offset: Any,
    backend: str | None,
    num_threads: int | None,
    stream: Any,
) -> None: ...
def drop(
    x: Any,
    name: str,
    out: Any,
    p: float,
    scale: float,
    seed: Any,
    offset: Any,
    backend: str | None,
    num_threads: int | None,
    stream: Any,
) -> NDArray[Any]: ...
