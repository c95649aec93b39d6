"""Machine code that is kept from one process to the next, in files that only this user can have written.

What is loaded runs as native code. So the folder and the file must belong to this user, nobody else may be able to
write to either, and the path must not depend on the current directory. Files are opened relative to the open folder,
whose owner and mode were checked: whoever renames what lies above it changes nothing.
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

#: What a file begins with: it changes with the format.
MAGIC = b"fastopt1"

#: More bytes than any kernel has: a larger file is not read.
LARGEST = 1 << 26

#: Seconds after which a temporary file was left by a process that is no more.
ABANDONED = 3600.0


def kept(kind: str, covered: Iterable[str], make: Callable[[], bytes], load: Callable[[bytes], _Loaded]) -> _Loaded:
    """Return what ``load`` makes of machine code: the code of its file, or else of ``make``, which is then kept.

    ``covered`` is all that the code depends on. The file's name follows from it, and the digest in the file covers it:
    another kernel's file, copied to this name, is refused. Code that ``load`` can't load is made anew, too.
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
    """Return where kernels are kept: FASTOPT_CACHE_DIR, or fastopt/ in the user's cache folder.

    It is relative where the user has no home folder: then nothing is kept.
    """
    chosen = os.environ.get("FASTOPT_CACHE_DIR")
    if chosen:
        if not os.path.isabs(chosen):
            raise ValueError(f"FASTOPT_CACHE_DIR is {chosen!r}; expected an absolute path")
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG specification says to ignore a relative one
        base = os.path.expanduser("~/.cache")
    return Path(base) / "fastopt"


def cache_state() -> str:
    """Return where kernels are kept, or why they are not."""
    try:
        folder = cache_folder()
        with suppress(FileNotFoundError), _private(folder):  # it is made when there is something to keep
            pass
    except (OSError, ValueError) as error:
        return f"not used: {error}"
    return str(folder)


@contextmanager
def _private(path: Path, make: bool = False) -> Iterator[int]:
    """Open a folder, or raise an OSError that says how others could write to it."""
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
    """Return the code in a file that is this user's and undamaged, or raise an OSError."""
    with _private(path) as folder:
        # A FIFO of that name would wait for a writer, without O_NONBLOCK.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            found = os.fstat(file)
            _check_private(name, found)
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
                raise OSError(f"{name} is no kernel's file")
            content = os.read(file, found.st_size)
        finally:
            os.close(file)
    code = content[len(MAGIC) + sha256().digest_size :]
    if content != _sealed(identity, code):
        raise OSError(f"{name} is damaged, or another kernel's")
    return code


def _sealed(identity: bytes, code: bytes) -> bytes:
    """Return a file's content."""
    return MAGIC + sha256(MAGIC + identity + code).digest() + code


def _write(path: Path, name: str, content: bytes) -> None:
    """Write a file that another process never sees half of."""
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
    """Remove temporary files of processes that were killed while they wrote."""
    for name in os.listdir(folder):
        if name.endswith(".tmp"):
            with suppress(OSError):  # another process removes it, too
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < time.time() - ABANDONED:
                    os.unlink(name, dir_fd=folder)
