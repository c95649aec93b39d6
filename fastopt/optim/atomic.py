"""Files that are there whole or not at all, whenever the process or the machine may stop."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Give the path of a new, empty file, which takes the place of ``path`` once all of it is on the disk.

    It stands in the same folder, as only there it can be renamed in one go; where path is a link, in that of the file
    linked to. After an error it is gone, and path is as it was.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".fastopt-{os.urandom(8).hex()}.tmp")
    # Made here, for the system applies the umask: to ask for the umask is to set it, for all threads.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        yield temporary
        os.chmod(temporary, mode)  # safetensors puts a file in its place that only its owner may read
        _synchronise(temporary)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _synchronise(folder)


def _synchronise(path: str) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # There are file systems, of networks above all, that cannot do this for a folder.
        if not (error.errno in (errno.EINVAL, errno.ENOTSUP) and os.path.isdir(path)):
            raise
    finally:
        os.close(descriptor)
