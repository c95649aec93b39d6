"""Leaves these tests to the process that simulates a device: the variable is read when Numba is imported."""

import os

collect_ignore_glob = [] if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else ["*"]
