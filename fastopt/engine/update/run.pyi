from typing import Any

from fastopt.engine.update.update import Update, Variants

def run(
    variants: Variants, arrays: tuple[Any, ...], hyperparameters: tuple[Any, ...], backend: str | None,
    num_threads: int | None, stream: Any = None,
) -> None: ...  # fmt: skip
def run_many(
    update: Update, tensors: list[tuple[Any, ...]], hyperparameters: tuple[Any, ...], backend: str | None,
    num_threads: int | None, stream: Any = None,
) -> None: ...  # fmt: skip
