"""Optional libraries that the tests compare with."""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType
from typing import NoReturn

import pytest


def peer(name: str) -> ModuleType:
    """Import a peer library, or skip the test; with FASTOPT_REQUIRE_PEERS set, fail it, so that no run skips unseen."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        _leave(f"{name} cannot be imported: {error}")


def require(name: str) -> None:
    """Look for a peer library as `peer` does, without importing it: a test uses it in a process of its own."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        _leave(f"{name} cannot be imported: it is not installed")


def _leave(missing: str) -> NoReturn:
    if os.environ.get("FASTOPT_REQUIRE_PEERS"):
        pytest.fail(missing)
    pytest.skip(missing, allow_module_level=True)
