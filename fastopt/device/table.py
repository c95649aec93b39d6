"""Tables of pointers on the device, for lists of tensors; they are reused while the pointers do not change.

Tables are copied as arguments of launches (`fastopt.codegen.cuda.update.Words`). Host memory would have to exist until
the device has copied it, and forever if a graph captured the copy.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import accumulate
from threading import Lock
from typing import Any, TypeAlias

from fastopt.codegen.cuda.update import CHUNK
from fastopt.device.select import machine

#: For each tensor: the addresses of its arrays, and the number of their elements.
Tensors: TypeAlias = tuple[tuple[tuple[int, ...], int], ...]

#: The number of cached lists, such as a model's parameters in groups.
KEPT = 64

_tables: OrderedDict[tuple[Any, ...], tuple[tuple[Any, ...], int]] = OrderedDict()
_lock = Lock()


def table(device: int, stream: int, storages: tuple[str, ...], tensors: Tensors) -> tuple[tuple[Any, ...], int]:
    """Return a list's kernel arguments (pointers; sizes; each tensor's first chunk) and the number of chunks.

    A captured call has a table of its own, which the graph allocates and frees at each replay: a cached table might be
    freed before.
    """
    if machine().is_capturing(device, stream):
        return _make(device, stream, storages, tensors)
    key = device, stream, storages, tensors
    with _lock:
        found = _tables.get(key)
        if found is None:
            if len(_tables) == KEPT:
                _tables.popitem(last=False)  # frees its memory for the new one
            found = _tables[key] = _make(device, stream, storages, tensors)
        else:
            _tables.move_to_end(key)
        return found


def _make(device: int, stream: int, storages: tuple[str, ...], tensors: Tensors) -> tuple[tuple[Any, ...], int]:
    sizes = [count for _, count in tensors]
    columns = [(storage, [addresses[i] for addresses, _ in tensors], sizes) for i, storage in enumerate(storages)]
    *firsts, chunks = accumulate((-(-count // CHUNK) for count in sizes), initial=0)
    return machine().table(device, stream, columns, [sizes, firsts]), chunks
