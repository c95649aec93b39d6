from typing import Any

import numpy as np

HOST: int

def import_array(producer: Any, name: str) -> tuple[np.ndarray[Any, Any], bool, int]: ...
