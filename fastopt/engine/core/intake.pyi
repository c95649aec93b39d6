from typing import Any

import numpy as np

STORAGE_NAMES: tuple[str, ...]

def as_numpy(array: Any, name: str) -> tuple[np.ndarray[Any, Any], str, int]: ...
