"""Tables of a list's pointers, on the device, that stay there for as long as the pointers stay.

They come as arguments of launches (`fastopt.codegen.cuda.update.Words`). Memory of the host's, from which a device
copies later, would have to be kept until it has; and where a graph captured the copy, for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import accumulate
from threading import Lock
from typing import Any, TypeAlias

from fastopt.codegen.cuda.update import CHUNK
from fastopt.device.select import machine

#: Of each tensor: the addresses of its arrays, and how many elements each has.
Tensors: TypeAlias = tuple[tuple[tuple[int, ...], int], ...]

#: So many lists are remembered: a model's parameters in groups, say.
KEPT = 64

_tables: OrderedDict[tuple[Any, ...], tuple[tuple[Any, ...], int]] = OrderedDict()
_lock = Lock()


def table(device: int, stream: int, storages: tuple[str, ...], tensors: Tensors) -> tuple[tuple[Any, ...], int]:
    """Return the kernel's arguments for a list of tensors (pointers; sizes; each one's first chunk) and the number of
    chunks.

    A call that is captured has a table of its own, which the graph makes and gives back at each replay: one of those
    kept here might be given back before.
    """
    if machine().is_capturing(device, stream):
        return _make(device, stream, storages, tensors)
    key = device, stream, storages, tensors
    with _lock:
        found = _tables.get(key)
        if found is None:
            if len(_tables) == KEPT:
                _tables.popitem(last=False)  # its memory is there for the new one
            found = _tables[key] = _make(device, stream, storages, tensors)
        else:
            _tables.move_to_end(key)
        return found


def _make(device: int, stream: int, storages: tuple[str, ...], tensors: Tensors) -> tuple[tuple[Any, ...], int]:
    sizes = [count for _, count in tensors]
    columns = [(storage, [addresses[i] for addresses, _ in tensors], sizes) for i, storage in enumerate(storages)]
    *firsts, chunks = accumulate((-(-count // CHUNK) for count in sizes), initial=0)
    return machine().table(device, stream, columns, [sizes, firsts]), chunks
