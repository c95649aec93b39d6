"""Selects the measurements on a device by the command line's options."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

from benchmarks.device.device import Device
from benchmarks.device.measure import NORM, RANDOM, SCALING, UPDATE, measure_call, measure_launches, measure_on_device
from benchmarks.effort import DEVICE, DEVICE_QUICK
from benchmarks.models.resnet import RESNET50
from benchmarks.models.workload import ListWorkload
from benchmarks.norms.workload import NormWorkload
from benchmarks.plan import Measurement
from benchmarks.random.measure import random_workloads
from benchmarks.report import short
from benchmarks.scaling.measure import SCALING_WORKLOADS
from benchmarks.updates.workload import UpdateWorkload
from tests.cases import BY_NAME

ADAMW = BY_NAME["adamw"]

#: The updates and lists with measured host times
CALLED = UpdateWorkload(ADAMW, 1_000)

LIST = ListWorkload.of(ADAMW, RESNET50)

IMAGES = (64, 64, 112, 112)

NORMS = [
    NormWorkload("batch", direction, "NCHW", IMAGES, fused=fused)
    for fused in (False, True)
    for direction in ("forward", "backward")
]

#: The choices of `--only`
GROUPS = ("calls", "adamw", "norms", "random", "scaling")


def plan(options: argparse.Namespace, device: Device) -> list[Measurement]:
    """Return the measurements that the options select."""
    effort = DEVICE if options.full else DEVICE_QUICK
    if options.sizes:
        effort = replace(effort, sizes=options.sizes, largest_norm=max(options.sizes))
    shared = (effort, options.peers, device)
    lists = [LIST] if LIST.elements <= max(effort.sizes) else []
    updates = [*(UpdateWorkload(ADAMW, size) for size in effort.sizes), *lists]
    drawn = random_workloads((max(effort.sizes),))
    norms = [norm for norm in NORMS if norm.elements <= effort.largest_norm]
    scalers = [scaler for scaler in SCALING_WORKLOADS if scaler.elements <= max(effort.sizes)]
    planned: dict[str, list[Measurement]] = {
        "calls": [(f"call: {_label(each)}", partial(measure_call, each, *shared)) for each in (CALLED, *lists)],
        "adamw": [
            *((_label(each), partial(measure_on_device, UPDATE, each, *shared)) for each in updates),
            *((f"launches: {_label(each)}", partial(measure_launches, each, device)) for each in lists),
        ],
        "norms": [(f"{each.name}, {each.shape}", partial(measure_on_device, NORM, each, *shared)) for each in norms],
        "random": [
            (f"{each.name}, {each.storage}", partial(measure_on_device, RANDOM, each, *shared)) for each in drawn
        ],
        "scaling": [
            (f"{each.name}, {each.shape}", partial(measure_on_device, SCALING, each, *shared)) for each in scalers
        ],
    }
    return [measurement for group in GROUPS if group in (options.only or GROUPS) for measurement in planned[group]]


def _label(update: UpdateWorkload) -> str:
    return f"{update.name}, {update.shape or f'{short(update.elements)} elements'}"
