"""Measures updates, lists, norms, random numbers and scalers on a device, and the host's time per call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

from benchmarks.competition import compete
from benchmarks.device.candidates import FASTOPT_LIST, candidates_for, copy_on
from benchmarks.device.device import Device
from benchmarks.device.workload import CopyWorkload
from benchmarks.effort import Effort
from benchmarks.models.workload import ListWorkload
from benchmarks.results import Result
from benchmarks.timing import Timing
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.workload import Workload

UPDATE, NORM, RANDOM, SCALING = "cuda update", "cuda norm", "cuda random", "cuda scaling"
CALL, LAUNCHES = "cuda call", "cuda launches"

#: fastopt's number of threads, which does not affect devices
THREADS = 1


def measure_on_device(
    measure: str, workload: Workload, effort: Effort, peers: bool, device: Device
) -> Iterator[Result]:
    """Time every candidate and a copy of the same size by the device's clock."""
    competitions = {
        workload: candidates_for(workload, device, peers),
        CopyWorkload(workload): [copy_on(device)],
    }
    yield from compete(measure, competitions, effort, THREADS, device)


def measure_call(workload: UpdateWorkload, effort: Effort, peers: bool, device: Device) -> Iterator[Result]:
    """Time every candidate on the host, with the same arrays at each call."""
    place = replace(device, clock=device.driver.calls, cache=0)
    yield from compete(CALL, {workload: candidates_for(workload, device, peers)}, effort, THREADS, place)


def measure_launches(workload: ListWorkload, device: Device) -> Iterator[Result]:
    """Count the kernels of one call of fastopt; the columns of seconds contain the number."""
    from fastopt.device.select import machine  # imported late: numba-cuda may be missing

    step = FASTOPT_LIST.make(workload, device.put(workload.make_arrays()), THREADS)
    with patch.object(machine(), "launch", wraps=machine().launch) as launch:
        step()
    count = launch.call_count
    yield Result.of(Timing(1, count, count, count), LAUNCHES, "fastopt", workload)
