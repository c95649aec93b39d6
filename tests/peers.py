"""Libraries that the tests compare with, and that a machine may lack."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


def peer(name: str) -> ModuleType:
    """Import a peer library, or skip the test; with FASTOPT_REQUIRE_PEERS set, fail it, so that no run skips unseen."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = f"{name} cannot be imported: {error}"
    if os.environ.get("FASTOPT_REQUIRE_PEERS"):
        pytest.fail(missing)
    pytest.skip(missing, allow_module_level=True)
