"""Kernels that Numba compiles on first use, with the same C signature as those compiled ahead of time.

Their machine code is cached in the user's cache folder. Numba is not imported for a cached kernel.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastopt import primitives
from fastopt.backends.disk_cache import kept
from fastopt.backends.numba.object_code import NotSelfContainedError, emit, load, processor
from fastopt.codegen.numba.norm import tile_kernel_module
from fastopt.codegen.numba.random import random_module
from fastopt.codegen.numba.scaling import scaling_kernel_module
from fastopt.codegen.numba.update import numba_module
from fastopt.codegen.parse import VARIANTS
from fastopt.common.version import VERSION
from fastopt.errors import BackendUnavailable
from fastopt.rules import random_primitives

if find_spec("numba") is None:  # does not import it
    raise ModuleNotFoundError("No module named 'numba'")

VERSIONS = (version("numba"), version("llvmlite"))


#: The generator of the text of each family's kernels.
WRITERS: dict[str, Callable[[str, str, int, str], str]] = {
    "update": lambda source, name, variant, dtype: numba_module(source, name, VARIANTS[variant], dtype),
    "norm": tile_kernel_module,
    "scaling": lambda source, name, _, dtype: scaling_kernel_module(source, name, dtype),
    "random": lambda source, name, _, dtype: random_module(source, name, dtype),
}


def kernel(family: str, name: str, dtype: str, variant: int = 0, source: str | None = None) -> int:
    """Return the address of a kernel, which is compiled unless it is cached."""
    text = source or inspect.getsource(import_module(f"fastopt.rules.{family}"))
    return _address_of(WRITERS[family](text, name, variant, dtype))


@cache
def _address_of(text: str) -> int:
    try:
        return kept("numba", _covered(text), lambda: _machine_code(text), load)
    except NotSelfContainedError:  # the code is valid only in this process
        address: int = _compiled(text).address
        return address


def _machine_code(text: str) -> bytes:
    function = _compiled(text)
    return emit(function.inspect_llvm(), function.native_name)


def _compiled(text: str) -> Any:
    try:
        from fastopt.backends.numba.compiler import c_function  # imported late, since it imports Numba
    except ImportError as error:
        raise BackendUnavailable(f"backend 'numba' needs a Numba that can be imported: {error}") from error
    return c_function(text)


def _covered(text: str) -> list[str]:
    """Return all inputs of the machine code: text, compilers, options and processor."""
    here = Path(__file__)
    paths = (here, *(here.with_name(f"{name}.py") for name in COMPILERS))
    sources = [inspect.getsource(module) for module in (primitives, random_primitives)]
    sources += [path.read_text() for path in paths]  # not imported, since that would import Numba
    told = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
    return [text, *sources, VERSION, *VERSIONS, *processor(), *told]


#: The modules that compile a text to machine code.
COMPILERS = ("compiler", "typed", "object_code")
