"""Kernels that Numba compiles when they are asked for, with the same C signature as those built ahead of time.

Their machine code is kept in the user's cache folder. Where it is, Numba is not imported.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fastopt
from fastopt import primitives
from fastopt.backends.disk_cache import kept
from fastopt.backends.numba.object_code import NotSelfContainedError, emit, load, processor
from fastopt.codegen.numba.norm import panel_module
from fastopt.codegen.numba.random import random_module
from fastopt.codegen.numba.scaling import column_module
from fastopt.codegen.numba.update import numba_module
from fastopt.codegen.parse import FORMS, source_of
from fastopt.errors import BackendUnavailable
from fastopt.rules import norm as norm_rules
from fastopt.rules import random as random_rules
from fastopt.rules import random_primitives
from fastopt.rules import scaling as column_rules

if find_spec("numba") is None:  # which is not imported yet
    raise ModuleNotFoundError("No module named 'numba'")

VERSIONS = (version("numba"), version("llvmlite"))


def kernel(rule: Callable[..., object], dtype: str, form: int) -> int:
    """Return the address of one of the rule's kernels, compiled now if it is not in the cache."""
    return _address_of(numba_module(source_of(rule), rule.__name__, FORMS[form], dtype))


def panel_kernel(name: str, dtype: str, form: int) -> int:
    """Return the address of one of the norms' kernels, compiled now if it is not in the cache."""
    return _address_of(panel_module(inspect.getsource(norm_rules), name, form, dtype))


def column_kernel(name: str, dtype: str) -> int:
    """Return the address of one of the kernels of feature scaling, compiled now if it is not in the cache."""
    return _address_of(column_module(inspect.getsource(column_rules), name, dtype))


def random_kernel(name: str, dtype: str) -> int:
    """Return the address of a random rule's kernel, compiled now if it is not in the cache."""
    return _address_of(random_module(inspect.getsource(random_rules), name, dtype))


@cache
def _address_of(text: str) -> int:
    try:
        return kept("numba", _covered(text), lambda: _machine_code(text), load)
    except NotSelfContainedError:  # then it lives in this process only
        address: int = _compiled(text).address
        return address


def _machine_code(text: str) -> bytes:
    function = _compiled(text)
    return emit(function.inspect_llvm(), function.native_name)


def _compiled(text: str) -> Any:
    try:
        from fastopt.backends.numba.compiler import c_function  # only here, for it imports Numba
    except ImportError as error:
        raise BackendUnavailable(f"backend 'numba' needs a Numba that can be imported: {error}") from error
    return c_function(text)


def _covered(text: str) -> list[str]:
    """All that the machine code depends on: what is compiled, by whom, how, and for which processor."""
    here = Path(__file__)
    sources = (
        Path(primitives.__file__),
        Path(random_primitives.__file__),
        here,
        *(here.with_name(f"{name}.py") for name in COMPILERS),
    )
    told = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
    return [text, *(source.read_text() for source in sources), fastopt.__version__, *VERSIONS, *processor(), *told]


#: The modules that make machine code of a text.
COMPILERS = ("compiler", "random", "typed_random", "reinterpretation", "object_code")
