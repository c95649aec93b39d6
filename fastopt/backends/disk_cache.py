"""A cache of machine code in files that only this user can have written.

The cached code is executed. So the folder and the file must belong to this user, nobody else may be able to write to
either, and the path must not depend on the current directory. Files are opened relative to the open folder, after a
check of its owner and mode, so that renaming a parent folder has no effect.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

_Loaded = TypeVar("_Loaded")

#: Magic bytes at the start of a file; they change with the format.
MAGIC = b"fastopt1"

#: Larger than any kernel: a larger file is not read.
LARGEST = 1 << 26

#: The age in seconds at which a temporary file belongs to a process that has ended.
ABANDONED = 3600.0


def kept(kind: str, covered: Iterable[str], make: Callable[[], bytes], load: Callable[[bytes], _Loaded]) -> _Loaded:
    """Return the result of ``load`` for cached machine code, or for the result of ``make``, which is then cached.

    ``covered`` is everything that the code depends on. It determines the file's name and is part of the digest in the
    file: another kernel's file that was copied to this name is refused. Code that ``load`` fails to load is made again.
    """
    folder = cache_folder()
    identity = sha256(ascii((kind, *covered)).encode()).digest()
    name = f"{kind}_{identity.hex()[:32]}"
    with suppress(OSError, RuntimeError, ValueError):
        return load(_read(folder, name, identity))
    code = make()
    loaded = load(code)
    with suppress(OSError):
        _write(folder, name, _sealed(identity, code))
    return loaded


def cache_folder() -> Path:
    """Return the cache folder: FASTOPT_CACHE_DIR, or fastopt/ in the user's cache folder.

    It is relative if the user has no home folder; the cache is then not used.
    """
    chosen = os.environ.get("FASTOPT_CACHE_DIR")
    if chosen:
        if not os.path.isabs(chosen):
            raise ValueError(f"FASTOPT_CACHE_DIR is {chosen!r}; expected an absolute path")
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG specification requires relative paths to be ignored
        base = os.path.expanduser("~/.cache")
    return Path(base) / "fastopt"


def cache_state() -> str:
    """Return the cache folder, or the reason why it is not used."""
    try:
        folder = cache_folder()
        with suppress(FileNotFoundError), _private(folder):  # it is created when code is cached
            pass
    except (OSError, ValueError) as error:
        return f"not used: {error}"
    return str(folder)


@contextmanager
def _private(path: Path, make: bool = False) -> Iterator[int]:
    """Open a folder, or raise an OSError if other users could write to it."""
    if not hasattr(os, "geteuid"):
        raise PermissionError("this system does not tell the owner of a file")
    if not path.is_absolute():
        raise PermissionError(f"{path} is relative; expected an absolute path: the home folder is unknown")
    if make:
        path.mkdir(0o700, parents=True, exist_ok=True)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _check_private(str(path), os.fstat(folder))
        yield folder
    finally:
        os.close(folder)


def _check_private(name: str, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{name} is owned by user {found.st_uid}; expected {os.geteuid()}, this user")
    mode = stat.S_IMODE(found.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{name} has mode {mode:04o}; expected one in which only the owner can write")


def _read(path: Path, name: str, identity: bytes) -> bytes:
    """Return the code in an undamaged file of this user, or raise an OSError."""
    with _private(path) as folder:
        # Without O_NONBLOCK, opening a FIFO of that name would wait for a writer.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            found = os.fstat(file)
            _check_private(name, found)
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
                raise OSError(f"{name} is not a file of this cache")
            content = os.read(file, found.st_size)
        finally:
            os.close(file)
    code = content[len(MAGIC) + sha256().digest_size :]
    if content != _sealed(identity, code):
        raise OSError(f"{name} is damaged or belongs to another kernel")
    return code


def _sealed(identity: bytes, code: bytes) -> bytes:
    """Return the content of a file."""
    return MAGIC + sha256(MAGIC + identity + code).digest() + code


def _write(path: Path, name: str, content: bytes) -> None:
    """Write a file atomically."""
    with _private(path, make=True) as folder:
        _remove_abandoned(folder)
        temporary = f"{secrets.token_hex(16)}.tmp"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        try:
            with open(file, "wb") as opened:
                opened.write(content)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(temporary, dir_fd=folder)
            raise


def _remove_abandoned(folder: int) -> None:
    """Remove temporary files of processes that were killed during a write."""
    for name in os.listdir(folder):
        if name.endswith(".tmp"):
            with suppress(OSError):  # another process may remove it first
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < time.time() - ABANDONED:
                    os.unlink(name, dir_fd=folder)
