"""Puts the kernels of a call in order with what the producers of its arrays do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastopt.device.select import machine
from fastopt.device.streams import handle_of, one_of_all_threads, streams_of


@contextmanager
def joined(given: Sequence[Any], device: int, stream: Any) -> Iterator[int]:
    """Yield the handle of the stream to use: the caller's, or else the one that the arrays are in use on.

    Where they come with several, it is the first one's: kernels come after what the others have to do, and what these
    do next, after the kernels. For a stream of the caller's, the caller sees to that.
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
