"""Runs these tests only in the process that simulates a device: Numba reads the variable when it is imported."""

import os

collect_ignore_glob = [] if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else ["*"]
