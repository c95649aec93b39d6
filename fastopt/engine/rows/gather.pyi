from typing import Any

from numpy.typing import NDArray

def gather(
    arrays: tuple[NDArray[Any], ...],
    outs: tuple[NDArray[Any], ...],
    numbers: NDArray[Any],
    num_threads: int | None = ...,
) -> None: ...
def shuffle(numbers: NDArray[Any], seed: int, epoch: int) -> None: ...
