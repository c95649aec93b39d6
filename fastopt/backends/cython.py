"""Kernels compiled ahead of time for this processor's instruction set."""

from __future__ import annotations

import os
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType

import fastopt.kernels
from fastopt.engine.core.cpu import supported_isas
from fastopt.specs.kernels import KERNEL_TYPES


def _library(isa: str) -> str | None:
    """Return the library of the kernels for an instruction set, or None if it was not built."""
    for suffix in EXTENSION_SUFFIXES:
        path = os.path.join(fastopt.kernels.__path__[0], isa.replace("-", "_") + suffix)
        if os.path.exists(path):
            return path
    return None


def built_isas() -> list[str]:
    """Return the instruction sets that were built and that this processor supports, the widest last."""
    return [isa for isa in supported_isas() if _library(isa)]


def _choose() -> str:
    runnable = built_isas()
    if not runnable:
        raise ImportError(
            "this build of fastopt has no kernels that this processor can run; expected x86-64-v2 or more: "
            "SSE4.2 and POPCNT, as in Intel processors since 2008 and AMD processors since 2011"
        )
    forced = os.environ.get("FASTOPT_ISA")
    if not forced:
        return runnable[-1]
    if forced not in runnable:
        raise ValueError(f"FASTOPT_ISA is {forced!r}; expected one that was built and runs here: {', '.join(runnable)}")
    return forced


#: The instruction set in use, chosen once: the widest, or the value of the environment variable FASTOPT_ISA.
ISA = _choose()


def _load(family: str, dtype: str) -> ModuleType:
    """Return a module from the library of the instruction set in use."""
    name = f"fastopt.kernels.{family}_{dtype}"
    loader = ExtensionFileLoader(name, str(_library(ISA)))
    module = module_from_spec(ModuleSpec(name, loader, origin=loader.path))
    loader.exec_module(module)
    return module


#: All kernel modules, loaded while this module's import lock is held, which takes 0.5 ms.
_MODULES = {(family, dtype): _load(family, dtype) for family, dtypes in KERNEL_TYPES.items() for dtype in dtypes}


#: The family whose kernel modules contain a table of C functions.
TABLES = {"codecs": "update", "summing": "update", "draw": "random"}


def kernels(family: str, name: str, dtype: str) -> tuple[int, ...]:
    """Return the addresses of a kernel's variants."""
    addresses: dict[str, tuple[int, ...]] = _MODULES[family, dtype].addresses
    if name not in addresses:
        raise ValueError(
            f"rule {name!r} is not in the build of the cython backend; expected one of fastopt.rules.{family}"
        )
    return addresses[name]


def kernel(family: str, name: str, dtype: str, variant: int = 0, source: str | None = None) -> int:
    """Return the address of a kernel."""
    return kernels(family, name, dtype)[variant]


def table(name: str, dtype: str) -> int:
    """Return the address of a table of C functions."""
    address: int = getattr(_MODULES[TABLES[name], dtype], name)
    return address
