"""Synchronises the kernels of a call with the producers of its arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastopt.device.select import machine
from fastopt.device.streams import handle_of, one_of_all_threads, streams_of


@contextmanager
def joined(given: Sequence[Any], device: int, stream: Any) -> Iterator[int]:
    """Yield the handle of the stream to use: the caller's, or else the one on which the arrays are in use.

    If there are several, the first array's stream is used: kernels wait for the others' pending work, and the others'
    later work waits for the kernels. If the caller passes a stream, synchronisation is up to the caller.
    """
    if stream is not None:
        yield one_of_all_threads(handle_of(stream))
        return
    first, *others = map(one_of_all_threads, streams_of(given, device))
    for other in others:
        machine().wait(device, first, other)
    yield first
    for other in others:
        machine().wait(device, other, first)
