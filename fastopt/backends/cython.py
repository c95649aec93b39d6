"""The kernels that the build compiled ahead of time, in the variant for this processor's instruction set."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType

import fastopt.kernels
from fastopt.engine.core.cpu import supported_isas


def _module_name(family: str, dtype: str, isa: str) -> str:
    return f"{family}_{dtype}_{isa.replace('-', '_')}"


def built_isas() -> list[str]:
    """Return the instruction sets that the build made kernels for and that run here, the widest last."""
    files = {name.partition(".")[0] for name in os.listdir(fastopt.kernels.__path__[0])}
    return [isa for isa in supported_isas() if _module_name("update", "float32", isa) in files]


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


@cache
def _module(family: str, dtype: str) -> ModuleType:
    return import_module(f"fastopt.kernels.{_module_name(family, dtype, ISA)}")


def kernels(rule: Callable[..., object], dtype: str) -> tuple[int, ...]:
    """Return the addresses of the rule's kernels, in the order of its forms."""
    addresses: dict[str, tuple[int, ...]] = _module("update", dtype).addresses
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
    address: int = _module("norm", dtype).addresses[name][form]
    return address


def column_kernel(name: str, dtype: str) -> int:
    """Return the address of one of the kernels of feature scaling."""
    address: int = _module("scaling", dtype).addresses[name]
    return address


def random_kernel(name: str, dtype: str) -> int:
    """Return the address of a random rule's kernel."""
    address: int = _module("random", dtype).addresses[name]
    return address


def draw(dtype: str) -> int:
    """Return the address of what draws random bits."""
    address: int = _module("random", dtype).draw
    return address


def codecs(dtype: str) -> int:
    """Return the address of the codecs between this compute type and what arrays store."""
    address: int = _module("update", dtype).codecs
    return address


def summing(dtype: str) -> int:
    """Return the address of what sums of squares of this compute type are made with."""
    address: int = _module("update", dtype).summing
    return address
