"""Checkpoints in NumPy's npz format: zip files with a checksum for each member."""

from __future__ import annotations

import os
import zipfile
from typing import IO, Any

import numpy as np

from fastopt.optim.state_dicts import check_names
from fastopt.optim.stored import Arrays, Values, dtype_of, read_bytes

#: The maximum length of a header in version 1.0 of NumPy's file format, and of the bytes before it.
LONGEST_HEADER = 10 + (1 << 16)


def write(file: IO[bytes], metadata: str, arrays: Arrays) -> None:
    """Write a file."""
    stored: dict[str, Any] = {name: array.view(dtype_of(array)) for name, array in arrays.items()}
    np.savez(file, **{"metadata": np.array(metadata), **stored})


def read(file: IO[bytes], own: Arrays, longest: int) -> tuple[str, Arrays]:
    """Return the metadata, of at most ``longest`` characters, and arrays like the optimizer's own.

    Declared sizes are compared before memory is allocated: a file of a few kilobytes may declare terabytes.
    """
    # zipfile reads the list of all members, whatever its length.
    most = (1 << 20) + 4 * longest
    most += sum(1024 + 2 * len(name) + array.nbytes * 65 // 64 for name, array in own.items())
    if (size := os.fstat(file.fileno()).st_size) > most:
        raise ValueError(f"it has {size} bytes; expected at most {most}")
    with zipfile.ZipFile(file) as archive:
        members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            if members.setdefault(member.filename.removesuffix(".npy"), member) is not member:
                raise ValueError(f"it has {member.filename} twice")
        check_names(members, ["metadata", *own], "it")
        metadata = _read_metadata(archive, members["metadata"], longest)
        return metadata, {name: _read_array(archive, members[name], name, array) for name, array in own.items()}


def _read_metadata(archive: zipfile.ZipFile, member: zipfile.ZipInfo, longest: int) -> str:
    with _opened(archive, member, 4 * longest) as stream:
        shape, _, dtype = _header(stream)
        if dtype.kind != "U" or shape != ():
            raise ValueError(f"metadata has dtype {dtype} and shape {shape}; expected a str")
        _check_size(stream, member, dtype.itemsize)
        return str(read_bytes(stream, dtype.itemsize).view(dtype)[0])


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, own: Values) -> Values:
    with _opened(archive, member, own.nbytes) as stream:
        shape, is_fortran, dtype = _header(stream)
        if shape != own.shape:
            raise ValueError(f"{name} has shape {shape}; expected {own.shape}")
        if dtype != dtype_of(own):
            raise ValueError(f"{name} has dtype {dtype}; expected {dtype_of(own)}")
        _check_size(stream, member, own.nbytes)
        order: Any = "F" if is_fortran else "C"
        found: Values = read_bytes(stream, own.nbytes).view(own.dtype).reshape(own.shape, order=order)
        return found


def _opened(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> IO[bytes]:
    """Open a member. Reading all of its bytes reaches its end, where zipfile compares the checksum."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed by method {member.compress_type}; expected 0 or 8")
    if member.file_size > most + LONGEST_HEADER:
        raise ValueError(f"{member.filename} has {member.file_size} bytes; expected at most {most} and a header")
    return archive.open(member)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"it has an array of format {version}; expected (1, 0)")
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = np.lib.format.read_array_header_1_0(stream)
    return header


def _check_size(stream: IO[bytes], member: zipfile.ZipInfo, count: int) -> None:
    expected = stream.tell() + count
    if member.file_size != expected:
        raise ValueError(f"{member.filename} has {member.file_size} bytes; expected {expected}")
