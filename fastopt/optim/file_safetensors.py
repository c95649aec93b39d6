"""Checkpoints in the format of safetensors: the length of a header, a JSON header, then the bytes of the arrays.

The format has no checksums, so the metadata contains a digest of everything else, "sha256".
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import IO, Any

from fastopt.optim.state_dicts import check_names
from fastopt.optim.stored import Arrays, parts_of, read_bytes
from fastopt.specs.dtypes import STORAGES

#: The format's names of dtypes.
DTYPES = {**{storage.name: storage.safetensors for storage in STORAGES}, "int64": "I64"}

#: Placeholder of the digest until it is computed.
NO_DIGEST = "0" * 64


def write(file: IO[bytes], metadata: str, arrays: Arrays) -> None:
    """Write a file."""
    # The digest comes first, because the data after it may contain as many zeros as the placeholder.
    header = {"__metadata__": {"sha256": NO_DIGEST, "fastopt": metadata}, **_entries(arrays)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    digest = hashlib.sha256(metadata.encode())
    for name in _entries(arrays):
        for part in parts_of(arrays[name]):
            digest.update(part)
            file.write(part)
    file.seek(8)
    file.write(text.replace(NO_DIGEST.encode(), digest.hexdigest().encode(), 1))


def read(file: IO[bytes], own: Arrays, longest: int) -> tuple[str, Arrays]:
    """Return the metadata, of at most ``longest`` characters, and arrays like the optimizer's own.

    The header is compared with them before memory is allocated for the data.
    """
    length, entries = int.from_bytes(file.read(8), "little"), _entries(own)
    most = 2 * longest + len(json.dumps(entries))
    if length > most:
        raise ValueError(f"its header has {length} bytes; expected at most {most}")
    header = json.loads(read_bytes(file, length).tobytes(), object_pairs_hook=_without_duplicates)
    check_names(header, ["__metadata__", *entries], "its header")
    about = header["__metadata__"]
    check_names(about, ["sha256", "fastopt"], "its metadata")
    for name, entry in entries.items():
        if header[name] != entry:
            raise ValueError(f"{name} is stored as {header[name]}; expected {entry}")
    size = os.fstat(file.fileno()).st_size
    if size != (expected := 8 + length + sum(array.nbytes for array in own.values())):
        raise ValueError(f"it has {size} bytes; expected {expected}")
    digest, arrays = hashlib.sha256(about["fastopt"].encode()), {}
    for name in entries:
        found = read_bytes(file, own[name].nbytes)
        digest.update(found.data)
        arrays[name] = found.view(own[name].dtype).reshape(own[name].shape)
    if digest.hexdigest() != about["sha256"]:
        raise ValueError("its digest does not match its content; expected an unmodified file")
    return about["fastopt"], arrays


def _entries(arrays: Arrays) -> dict[str, Any]:
    """Return the header entries of these arrays, sorted by descending size of the dtype, so that all are aligned."""
    entries, end = {}, 0
    for name, array in sorted(arrays.items(), key=lambda entry: -entry[1].itemsize):
        begin, end = end, end + array.nbytes
        entries[name] = {"dtype": DTYPES[array.dtype.name], "shape": [*array.shape], "data_offsets": [begin, end]}
    return entries


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header has a name twice")
    return found
