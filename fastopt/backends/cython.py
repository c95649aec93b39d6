"""The kernels that the build compiled ahead of time, in the variant for this processor's instruction set."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType

import fastopt.kernels
from fastopt.engine.core.cpu import supported_isas
from fastopt.specs.kernels import KERNEL_TYPES


def _library(isa: str) -> str | None:
    """Return the file of the kernels for an instruction set, or None if they were not built."""
    for suffix in EXTENSION_SUFFIXES:
        path = os.path.join(fastopt.kernels.__path__[0], isa.replace("-", "_") + suffix)
        if os.path.exists(path):
            return path
    return None


def built_isas() -> list[str]:
    """Return the instruction sets that the build made kernels for and that run here, the widest last."""
    return [isa for isa in supported_isas() if _library(isa)]


def _choose() -> str:
    runnable = built_isas()
    if not runnable:
        raise ImportError(
            "this build of fastopt has no kernels that this processor can run; expected x86-64-v2 or more: "
            "SSE4.2 and POPCNT, as Intel's processors have since 2008, and AMD's since 2011"
        )
    forced = os.environ.get("FASTOPT_ISA")
    if not forced:
        return runnable[-1]
    if forced not in runnable:
        raise ValueError(f"FASTOPT_ISA is {forced!r}; expected one that was built and runs here: {', '.join(runnable)}")
    return forced


#: The instruction set in use, chosen once: the widest, or what the environment variable FASTOPT_ISA names.
ISA = _choose()


def _load(family: str, dtype: str) -> ModuleType:
    """Return one of the modules in the library of the instruction set in use."""
    name = f"fastopt.kernels.{family}_{dtype}"
    loader = ExtensionFileLoader(name, str(_library(ISA)))
    module = module_from_spec(ModuleSpec(name, loader, origin=loader.path))
    loader.exec_module(module)
    return module


#: All modules of kernels, loaded while the lock of this module's import is held. That takes 0.5 ms.
_MODULES = {(family, dtype): _load(family, dtype) for family, dtypes in KERNEL_TYPES.items() for dtype in dtypes}


def kernels(rule: Callable[..., object], dtype: str) -> tuple[int, ...]:
    """Return the addresses of the rule's kernels, in the order of its forms."""
    addresses: dict[str, tuple[int, ...]] = _MODULES["update", dtype].addresses
    if rule.__name__ not in addresses:
        raise ValueError(
            f"rule {rule.__name__!r} is not in the build of the cython backend; expected one of fastopt.rules.update"
        )
    return addresses[rule.__name__]


def kernel(rule: Callable[..., object], dtype: str, form: int) -> int:
    """Return the address of one of the rule's kernels."""
    return kernels(rule, dtype)[form]


def panel_kernel(name: str, dtype: str, form: int) -> int:
    """Return the address of one of the norms' kernels."""
    address: int = _MODULES["norm", dtype].addresses[name][form]
    return address


def column_kernel(name: str, dtype: str) -> int:
    """Return the address of one of the kernels of feature scaling."""
    address: int = _MODULES["scaling", dtype].addresses[name]
    return address


def random_kernel(name: str, dtype: str) -> int:
    """Return the address of a random rule's kernel."""
    address: int = _MODULES["random", dtype].addresses[name]
    return address


def draw(dtype: str) -> int:
    """Return the address of what draws random bits."""
    address: int = _MODULES["random", dtype].draw
    return address


def codecs(dtype: str) -> int:
    """Return the address of the codecs between this compute type and what arrays store."""
    address: int = _MODULES["update", dtype].codecs
    return address


def summing(dtype: str) -> int:
    """Return the address of what sums of squares of this compute type are made with."""
    address: int = _MODULES["update", dtype].summing
    return address
