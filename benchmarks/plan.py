"""Selects the measurements by the command line's options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from benchmarks.around import GATHERED, measure_around, workloads
from benchmarks.calls import measure_calls
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.models.measure import measure_model
from benchmarks.models.workload import MODELS
from benchmarks.norms.kept_memory import measure_kept_memory
from benchmarks.norms.measure import ALLOCATED_BY_TORCH, NORM_WORKLOADS, measure_norm
from benchmarks.processes import measure_processes
from benchmarks.random.measure import measure_random, random_workloads
from benchmarks.report import short
from benchmarks.results import Result
from benchmarks.rules import SIZES, measure_first_calls, measure_rule
from benchmarks.scaling.estimators import ESTIMATOR_WORKLOADS, measure_estimators
from benchmarks.scaling.measure import SCALING_WORKLOADS, measure_scaling
from benchmarks.updates.measure import measure_storages, measure_update
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.updates.zero_gradient import measure_zero_gradient
from tests.cases import BY_NAME, CASES

BENCHMARKED = [case for case in CASES if case.benchmarked]

NORMS = tuple(dict.fromkeys(workload.family for workload in NORM_WORKLOADS))

#: The values of `--only` besides the names of cases
GROUPS = (
    *("batches", "calls", "processes", "models", "norms", *NORMS, "random", "rules", "scaling", "storage"),
    *("estimators", "zero-gradient"),
)

#: A description, and the function that measures
Measurement = tuple[str, Callable[[], Iterator[Result]]]


def plan(options: argparse.Namespace) -> list[Measurement]:
    """Return the measurements that the options select."""
    effort: Effort = FULL if options.full else QUICK
    if options.sizes:
        largest = max(options.sizes)
        effort = replace(effort, sizes=options.sizes, largest_norm=largest, largest_model=largest)
    groups = options.only or [*GROUPS, *(case.name for case in BENCHMARKED)]
    peers, threads = options.peers, options.threads
    planned: list[Measurement] = []
    if "calls" in groups:
        planned.append(("calls and import", partial(measure_calls, effort)))
    if "processes" in groups:
        planned.append(("processes", partial(measure_processes, effort)))
    if "rules" in groups:
        planned.append(("first calls of a rule", partial(measure_first_calls, effort)))
        planned += [
            (f"a rule, {short(size)} elements", partial(measure_rule, size, effort, threads))
            for size in SIZES
            if size <= max(effort.sizes)
        ]
    for case in [case for case in CASES if case.name in groups]:
        for size in effort.sizes:
            step = partial(measure_update, UpdateWorkload(case, size), effort, peers, threads)
            planned.append((f"{case.name}, {short(size)} elements", step))
    for model in MODELS.values():
        if "models" in groups and model.elements <= effort.largest_model:
            step = partial(measure_model, model, effort, peers, threads)
            planned.append((f"a step of {model.shape}", step))
    for norm in NORM_WORKLOADS:
        if {"norms", norm.family}.intersection(groups) and norm.elements <= effort.largest_norm:
            step = partial(measure_norm, norm, effort, peers, threads)
            planned.append((f"{norm.name}, {norm.shape}", step))
            if norm in ALLOCATED_BY_TORCH and peers:
                step = partial(measure_kept_memory, norm, effort, threads)
                planned.append((f"{norm.name}, {norm.shape}, memory kept", step))
    for scaler in SCALING_WORKLOADS:
        if "scaling" in groups and scaler.elements <= effort.largest_norm:
            step = partial(measure_scaling, scaler, effort, threads)
            planned.append((f"{scaler.name}, {scaler.shape}", step))
    for scaler in ESTIMATOR_WORKLOADS:
        if "estimators" in groups and scaler.elements <= effort.largest_norm:
            step = partial(measure_estimators, scaler, effort, threads)
            planned.append((f"{scaler.name} of scikit-learn, {scaler.storage}", step))
    for workload in random_workloads(effort.sizes) if "random" in groups else ():
        step = partial(measure_random, workload, effort, peers, threads)
        planned.append((f"{workload.name}, {workload.storage}, {short(workload.elements)} elements", step))
    if "batches" in groups:
        sizes = [size for size in effort.sizes if size >= 100_000]
        for work in [*(each for size in sizes for each in workloads(size)), *GATHERED]:
            step = partial(measure_around, work, effort, peers, threads)
            planned.append((f"{work.name}, {work.shape}", step))
    if "storage" in groups:
        for size in [size for size in effort.sizes if size >= 1_000_000]:
            step = partial(measure_storages, UpdateWorkload(BY_NAME["adam"], size), effort, threads)
            planned.append((f"storage, {short(size)} elements", step))
    if "zero-gradient" in groups:
        for case in BENCHMARKED if effort.zero_gradient_of_all else [BY_NAME["adam"]]:
            step = partial(measure_zero_gradient, case, peers)
            planned.append((f"{case.name}, zero gradients", step))
    return planned
