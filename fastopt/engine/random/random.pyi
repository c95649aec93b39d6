from typing import Any

from numpy.typing import NDArray

from fastopt.specs.random import RandomSpec

def fill(
    spec: RandomSpec, param: Any, hyperparameters: tuple[Any, ...], seed: Any, offset: Any, backend: str | None,
    num_threads: int | None, stream: Any, name: str = ...,
) -> None: ...  # fmt: skip
def drop(
    x: Any, name: str, out: Any, p: float, scale: float, seed: Any, offset: Any, backend: str | None,
    num_threads: int | None, stream: Any,
) -> NDArray[Any]: ...  # fmt: skip
