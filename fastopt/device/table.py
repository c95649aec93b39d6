"""Tables of a list's pointers, on the device, that stay there for as long as the pointers stay."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, TypeAlias

from fastopt.codegen.to_cuda import CHUNK
from fastopt.device.machine import machine

#: Of each tensor: the addresses of its arrays, and how many elements each has.
Tensors: TypeAlias = tuple[tuple[tuple[int, ...], int], ...]

#: So many lists are remembered: a model's parameters in groups, say.
KEPT = 64

_tables: OrderedDict[tuple[Any, ...], tuple[tuple[Any, ...], int]] = OrderedDict()
_lock = Lock()


def table(device: int, stream: int, storages: tuple[str, ...], tensors: Tensors) -> tuple[tuple[Any, ...], int]:
    """Return the kernel's arguments for a list of tensors (pointers, sizes, and of each chunk tensor and first element)
    and the number of chunks.
    """
    key = device, stream, storages, tensors
    with _lock:
        if key in _tables:
            _tables.move_to_end(key)
        else:
            _tables[key] = _make(device, stream, storages, tensors)
            if len(_tables) > KEPT:
                _tables.popitem(last=False)
        return _tables[key]


def _make(device: int, stream: int, storages: tuple[str, ...], tensors: Tensors) -> tuple[tuple[Any, ...], int]:
    sizes = [count for _, count in tensors]
    columns = [(storage, [addresses[i] for addresses, _ in tensors], sizes) for i, storage in enumerate(storages)]
    chunks = [(tensor, begin) for tensor, count in enumerate(sizes) for begin in range(0, count, CHUNK)]
    words = [sizes, [tensor for tensor, _ in chunks], [begin for _, begin in chunks]]
    return machine().table(device, stream, columns, words), len(chunks)
