"""Compiled kernels that are kept from one process to the next, in the user's cache folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return where kernels are kept: FASTOPT_CACHE_DIR, or fastopt/ in the user's cache folder."""
    chosen = os.environ.get("FASTOPT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "fastopt"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that another process never sees half of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
