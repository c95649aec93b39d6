"""The configuration of this machine: versions, instruction set, threads and their limits, backends, devices."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastopt.backends import cython, find_backend
from fastopt.backends.disk_cache import cache_state
from fastopt.common.version import VERSION
from fastopt.engine.threads.threads import get_num_threads, limits
from fastopt.errors import BackendUnavailable
from fastopt.specs.backends import MODULES

#: Packages whose versions are printed, installed or not.
PACKAGES = ("numpy", "numba", "numba-cuda", "ml-dtypes", "torch")


def config() -> dict[str, dict[str, str]]:
    """Return the output of `show_config`, by headings."""
    try:
        devices = _devices()
    except BackendUnavailable:
        devices = {"cuda": "none, or none that can be used"}
    return {
        "fastopt": {"version": VERSION, "folder": os.path.dirname(__file__), "kernel cache": cache_state()},
        "python": {"version": platform.python_version(), "compiled by": platform.python_compiler()},
        "packages": {name: _version_of(name) for name in PACKAGES},
        "processor": {
            "machine": platform.machine(),
            "kernels for": cython.ISA + " (FASTOPT_ISA)" * bool(os.environ.get("FASTOPT_ISA")),
            "usable": ", ".join(cython.built_isas()),
        },
        "threads": _threads(),
        "backends": {name: _backend(name) for name in MODULES},
        "devices": devices,
    }


def show_config() -> None:
    """Print versions, instruction set, threads and their limits, backends (and why one can't run), and devices.

    ``python -m fastopt`` prints the same. It starts no thread and creates no context of a device.

    Examples
    --------
    >>> import fastopt
    >>> fastopt.show_config()  # doctest: +ELLIPSIS
    fastopt
      version       ...
    """
    for heading, entries in config().items():
        print(heading)
        for name, value in entries.items():
            print(f"  {name:<12}  {value}")


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _threads() -> dict[str, str]:
    known: dict[str, Any] = limits()
    variables = ("FASTOPT_NUM_THREADS", "OMP_NUM_THREADS")
    said = [name for name in variables if os.environ.get(name)]
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = known["cgroup_quota"]
    return {
        "of a call": str(get_num_threads()),
        "environment": f"{said[0]}={os.environ[said[0]]}" if said else f"{' and '.join(variables)} are unset",
        "affinity": f"{affinity} of {os.cpu_count()} processors",
        "cgroup": "no quota" if quota is None else f"{quota:g} processors",
        "started": str(known["started"]),
    }


def _backend(name: str) -> str:
    try:
        _devices() if name == "cuda" else find_backend(name)
    except BackendUnavailable as error:
        return f"can't run: {error}"
    return "ready"


def _devices() -> dict[str, str]:
    find_backend("cuda")  # raises an error that says why it is missing
    from fastopt.device.select import machine

    return {f"cuda:{number}": name for number, name in enumerate(machine().names())}
