"""What is to be measured on a device, by the options of the command line."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

from benchmarks.device.device import Device
from benchmarks.device.measure import NORM, UPDATE, measure_call, measure_launches, measure_on_device
from benchmarks.device.resnet import RESNET50
from benchmarks.device.workload import ListWorkload
from benchmarks.effort import DEVICE, DEVICE_QUICK
from benchmarks.norms.workload import NormWorkload
from benchmarks.plan import Measurement
from benchmarks.report import short
from benchmarks.updates.workload import UpdateWorkload
from tests.cases import BY_NAME

ADAMW = BY_NAME["adamw"]

#: Of which a call's time on the host is measured.
CALLED = UpdateWorkload(ADAMW, 1_000)

LIST = ListWorkload.of(ADAMW, RESNET50)

IMAGES = (64, 64, 112, 112)

NORMS = [
    NormWorkload("batch", direction, "NCHW", IMAGES, fused=fused)
    for fused in (False, True)
    for direction in ("forward", "backward")
]

#: What `--only` chooses from.
GROUPS = ("calls", "adamw", "batch-norm")


def plan(options: argparse.Namespace, device: Device) -> list[Measurement]:
    """Return every measurement that the options ask for."""
    effort = DEVICE_QUICK if options.quick else DEVICE
    if options.sizes:
        effort = replace(effort, sizes=options.sizes, largest_norm=max(options.sizes))
    groups = options.only or GROUPS
    shared = (effort, options.peers, device)
    planned: list[Measurement] = []
    if "calls" in groups:
        planned.append(("calls", partial(measure_call, CALLED, *shared)))
    if "adamw" in groups:
        for size in effort.sizes:
            step = partial(measure_on_device, UPDATE, UpdateWorkload(ADAMW, size), *shared)
            planned.append((f"{ADAMW.name}, {short(size)} elements", step))
        if LIST.elements <= max(effort.sizes):
            planned.append((f"{ADAMW.name}, {LIST.shape}", partial(measure_on_device, UPDATE, LIST, *shared)))
            planned.append((f"{ADAMW.name}, {LIST.shape}, launches", partial(measure_launches, LIST, device)))
    planned += [
        (f"{norm.name}, {norm.shape}", partial(measure_on_device, NORM, norm, *shared))
        for norm in NORMS
        if {"norms", norm.family}.intersection(groups) and norm.elements <= effort.largest_norm
    ]
    return planned
