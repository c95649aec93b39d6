from typing import Any

import numpy as np

from fastopt.engine.update.update import Update

_c_api: Any

def convert(
    update: Update, scalars: tuple[float, ...], dtype: str, hyperparameters: tuple[Any, ...] | None = None
) -> np.ndarray[Any, Any]: ...
def run_kernel(
    update: Update, variant: int, dtype: str, arrays: tuple[Any, ...], scalars: np.ndarray[Any, Any]
) -> None: ...
