from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

def window(
    x: NDArray[Any],
    out: NDArray[Any],
    fill: NDArray[Any],
    seed: int,
    offset: int,
    number: int,
    first: Sequence[int],
    count: Sequence[int],
    flips: int = ...,
    num_threads: int | None = ...,
) -> None: ...
def check_out(x: NDArray[Any], out: NDArray[Any]) -> None: ...
