"""Compiled kernels that are kept from one process to the next, in the user's cache folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path


def kept(kind: str, covered: Iterable[str], make: Callable[[], bytes]) -> bytes:
    """Return machine code from the file that has it; else make it, and keep it if the folder can be written.

    ``covered`` is all that it depends on: from that follows the file's name.
    """
    path = cache_folder() / f"{kind}_{sha256(chr(0).join(covered).encode()).hexdigest()[:32]}"
    try:
        return _undamaged(path.read_bytes())
    except (OSError, ValueError):
        code = make()
    with suppress(OSError):
        _write_whole(path, sha256(code).digest() + code)
    return code


def cache_folder() -> Path:
    """Return where kernels are kept: FASTOPT_CACHE_DIR, or fastopt/ in the user's cache folder."""
    chosen = os.environ.get("FASTOPT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "fastopt"


def _undamaged(content: bytes) -> bytes:
    digest, code = content[:32], content[32:]
    if sha256(code).digest() != digest:
        raise ValueError("not as it was written")
    return code


def _write_whole(path: Path, content: bytes) -> None:
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
