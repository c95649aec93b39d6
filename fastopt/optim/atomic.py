"""Files that are written completely or not at all, even if the process or the machine stops."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

#: Prefix and suffix of the names of unfinished files.
UNFINISHED = (".fastopt-", ".tmp")


@contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """Yield a new, empty file, which replaces ``path`` once all of it is on the disk.

    The file is created in path's folder (of the target, if path is a link), because a rename is atomic only there.
    After an error it is removed, and path is unchanged. It takes over the mode of a file that it replaces, and the
    owner and group where the system allows that.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "path is in a folder that does not exist", folder)
    _remove_abandoned(folder)
    try:
        before = os.stat(target)
    except FileNotFoundError:
        before = None
    # Reading the umask means setting it, for all threads, so the system applies it to a new file instead.
    temporary, descriptor = _create(folder, 0o666 if before is None else 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            if before is not None:
                _take_over(descriptor, before)
            _synchronise(descriptor)
            os.replace(temporary, target)  # while it is locked, because another process removes unlocked files
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _synchronise(descriptor)
    finally:
        os.close(descriptor)


def _create(folder: str, mode: int) -> tuple[str, int]:
    """Return the path and the descriptor of a new file, which stays locked while it is open."""
    while True:
        path = os.path.join(folder, os.urandom(8).hex().join(UNFINISHED))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with suppress(OSError):  # a file system without locks, where no file is ever considered abandoned
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # another process removed the file before it was locked


def _remove_abandoned(folder: str) -> None:
    """Remove the files of killed processes: unfinished files of this user that no process has locked."""
    for name in os.listdir(folder):
        if name.startswith(UNFINISHED[0]) and name.endswith(UNFINISHED[1]):
            with suppress(OSError):
                _remove_unlocked(os.path.join(folder, name))


def _remove_unlocked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    finally:
        os.close(descriptor)


def _take_over(descriptor: int, before: os.stat_result) -> None:
    """Give a file the mode, owner and group of another file, as far as the system allows."""
    mode = before.st_mode & 0o777
    for owner in (before.st_uid, -1):
        with suppress(OSError):
            os.fchown(descriptor, owner, before.st_gid)
            break
    if os.fstat(descriptor).st_gid != before.st_gid:
        mode &= ~stat.S_IRWXG  # the old group's permissions must not apply to another group
    os.fchmod(descriptor, mode)


def _synchronise(descriptor: int) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems, mostly network ones, cannot do this for a folder.
        if not (error.errno in (errno.EINVAL, errno.ENOTSUP) and stat.S_ISDIR(os.fstat(descriptor).st_mode)):
            raise
