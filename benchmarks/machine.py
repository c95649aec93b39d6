"""The description of the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("fastopt", "numpy", "numba", "torch")


def describe_machine(threads: int) -> dict[str, str]:
    """Return the processor, the instruction set of fastopt's kernels, and package versions."""
    from fastopt.backends.cython import ISA

    facts = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "instruction set": ISA,
        "threads": str(threads),
        "python": platform.python_version(),
    }
    return facts | {package: package_version(package) for package in PACKAGES}


def machine_line(facts: dict[str, str]) -> str:
    """Return the description as a sentence."""
    if not facts:
        return "Nothing was measured yet, and so no number stands here"
    versions = ", ".join(f"{name} {facts[name]}" for name in PACKAGES)
    others = facts.get("other programs")
    return (
        (f"{facts['device']}; " if "device" in facts else "")
        + f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads, kernels for "
        f"{facts['instruction set']}; Python {facts['python']}, {versions}"
        + (f"; other programs had {others} of the processors" if others else "")
    )


def package_version(package: str) -> str:
    """Return the version of a package, or that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
