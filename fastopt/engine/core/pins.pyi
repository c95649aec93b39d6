from collections.abc import Iterable
from typing import Any

import numpy as np

def pinned(arrays: Iterable[np.ndarray[Any, Any]]) -> list[Any]: ...
