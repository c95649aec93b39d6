"""Launches the kernels of planned updates: selects the kernel, the number of blocks and the stream."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from fastopt.codegen.cuda.update import CHUNK, LINEAR, LIST, Kernel, unroll
from fastopt.device.axes import ADDRESSES, pointer_to
from fastopt.device.coefficients import Trace, compute
from fastopt.device.ordering import joined
from fastopt.device.select import machine
from fastopt.device.table import table
from fastopt.specs.dtypes import SIZES

#: Threads of a block: 8 warps; a multiprocessor can run 8 such blocks.
THREADS = 256

#: Maximum number of blocks of a launch per multiprocessor: all that run concurrently.
BLOCKS_PER_PROCESSOR = 8

#: Maximum number of axes of a kernel; the indices of further outer axes have one launch each.
MAX_AXES = 8


class Job(NamedTuple):
    """One tensor's update, planned by `run.pyx`; strides are in elements."""

    storages: tuple[str, ...]
    addresses: tuple[int, ...]
    elements: int
    #: None if every array is contiguous. Otherwise axes in memory order, with each array's strides along them.
    shape: tuple[int, ...] | None
    strides: tuple[tuple[int, ...], ...] | None


def launch(
    rule: Callable[..., Any], variant: int, is_float64: bool, jobs: Sequence[Job], scalars: tuple[float, ...],
    trace: Trace | None, device: int, given: Sequence[Any], stream: Any,
) -> None:  # fmt: skip
    """Put the jobs of one call into the stream, and return immediately; nothing is synchronised or copied back.

    All contiguous tensors with the same storage types are updated in one launch.
    """
    dtype = "float64" if is_float64 else "float32"
    numbers = trace.given if trace is not None else ()
    with joined([*given, *numbers], device, stream) as used:
        memory, taken = None, scalars
        if trace is not None:
            pointer, memory = compute(trace, scalars, dtype, device, used)
            taken = (pointer,)
        _launch_all(_Update(rule, variant, dtype, taken, trace is not None, device, used), jobs)
        del memory  # frees it in the order of the stream, after the update


def _launch_all(update: _Update, jobs: Sequence[Job]) -> None:
    alike: dict[tuple[str, ...], list[Job]] = defaultdict(list)
    for job in jobs:
        if job.shape is None:
            alike[job.storages].append(job)
        else:
            for part in _parts(job):
                update.strided(part)
    for some in alike.values():
        if len(some) == 1:
            update.linear(some[0])
        else:
            update.list(some)


def _parts(job: Job) -> Iterator[Job]:
    """Split the job along its outer axes until at most MAX_AXES remain."""
    assert job.shape is not None
    assert job.strides is not None
    if len(job.shape) <= MAX_AXES:
        yield job
        return
    inner = [strides[1:] for strides in job.strides]
    for k in range(job.shape[0]):
        moved = tuple(
            address + k * strides[0] * SIZES[storage]
            for address, strides, storage in zip(job.addresses, job.strides, job.storages, strict=True)
        )
        yield from _parts(Job(job.storages, moved, job.elements // job.shape[0], job.shape[1:], tuple(inner)))


class _Update(NamedTuple):
    """The common data of the launches of a call."""

    rule: Callable[..., Any]
    variant: int
    dtype: str
    #: The kernel's arguments after the sizes: the coefficients, or their address on the device.
    scalars: tuple[Any, ...]
    from_memory: bool
    device: int
    stream: int

    def linear(self, job: Job) -> None:
        """Launch the update of one tensor with contiguous arrays."""
        pointer, elements = machine().pointer, job.elements
        pointers = [pointer(*each, elements) for each in zip(job.addresses, job.storages, strict=True)]
        self.launch(job.storages, LINEAR, job.elements, [*pointers, job.elements])

    def list(self, jobs: Sequence[Job]) -> None:
        """Launch the update of several such tensors at once."""
        storages = jobs[0].storages
        tensors = tuple([(job.addresses, job.elements) for job in jobs])
        arguments, chunks = table(self.device, self.stream, storages, tensors)
        self.launch(storages, LIST, chunks * CHUNK, [*arguments, len(jobs), chunks])

    def strided(self, job: Job) -> None:
        """Launch the update of one tensor that is not contiguous."""
        assert job.shape is not None
        assert job.strides is not None
        pointers, starts_and_strides = [], []
        for address, storage, strides in zip(job.addresses, job.storages, job.strides, strict=True):
            pointer, start = pointer_to(address, storage, job.shape, strides)
            pointers.append(pointer)
            starts_and_strides += [start, *(stride % ADDRESSES for stride in strides)]
        arguments = [*pointers, job.elements, *job.shape[1:], *starts_and_strides]
        self.launch(job.storages, len(job.shape), job.elements, arguments)

    def launch(self, storages: tuple[str, ...], axes: int, count: int, arguments: Sequence[Any]) -> None:
        """Launch a kernel with enough blocks for the elements, up to the number that runs concurrently."""
        kernel = Kernel(self.rule, self.variant, storages, self.dtype, axes, self.from_memory)
        threads = machine().threads(THREADS, 4)
        share = threads * (unroll(len(storages)) if axes in (LINEAR, LIST) else 1)
        share = CHUNK if axes == LIST else share
        blocks = min(-(-count // share), BLOCKS_PER_PROCESSOR * machine().processors(self.device))
        machine().launch(kernel, self.device, self.stream, blocks, threads, [*arguments, *self.scalars])
