"""The common parts of kernels for CUDA devices: their parameters and the assembly of their text.

Indices and sizes are unsigned 64-bit integers, created by ``index``: Numba would check signed indices for wraparound. A
literal would be signed, so the text contains none: `NUMBERS` and a kernel's own numbers are globals.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import ClassVar

from ..numba.update import inlined
from ..parse import Function, parse_functions

#: Constants for all texts.
NUMBERS = {"none": 0, "single": 1, "zero64": 0.0, "one64": 1.0, "infinite64": math.inf}

#: The global index of a thread, and the number of threads.
PLACE = "index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x)"
PLACES = "index(cuda.gridDim.x) * index(cuda.blockDim.x)"


class Written(ABC):
    """A hashable kernel that generates its own text; its parameters are pointers, then words, then scalars."""

    #: The compute type.
    dtype: str
    #: The module of fastopt/rules/ that defines its functions.
    rules = "norm"
    #: The texts of further functions.
    helpers: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """Return a description for tracebacks."""
        return type(self).__name__.lower()

    @property
    @abstractmethod
    def pointers(self) -> list[tuple[str, str]]:
        """Names of the pointers and their storage types; written arrays come last, as the simulator requires."""

    @property
    def words(self) -> list[str]:
        """Names of the indices and sizes."""
        return []

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the floating-point parameters."""
        return ()

    @property
    def scalar_type(self) -> str:
        """Types of the floating-point parameters."""
        return "float64"

    @property
    def signature(self) -> list[str]:
        """Types of its arguments; a pointer's type is its storage type with a star."""
        pointers = [f"{storage}*" for _, storage in self.pointers]
        return [*pointers, *["word"] * len(self.words), *[self.scalar_type] * len(self.scalars)]

    @property
    def numbers(self) -> Mapping[str, float]:
        """Constants for its text."""
        return {}

    @cached_property
    def functions(self) -> dict[str, Function]:
        """All functions of the module."""
        return parse_functions(inspect.getsource(import_module(f"fastopt.rules.{self.rules}")))

    @property
    def called(self) -> tuple[str, ...]:
        """The functions that the kernel calls."""
        return ()

    @abstractmethod
    def body(self) -> list[str]:
        """The lines of the kernel's body."""

    def text(self) -> str:
        """Return the text of a Python module that defines ``kernel``."""
        arguments = ", ".join([*(f"{name}_" for name, _ in self.pointers), *self.words, *self.scalars])
        functions = (inlined(name, self.functions[name]) for name in self.called)
        parts = [header(self.rules), *functions, *self.helpers, f"def kernel({arguments}):\n{indent(self.body())}"]
        return "\n\n".join(parts)


def header(rules: str) -> str:
    """Return the first line of a text."""
    here = f"fastopt/codegen/cuda/{rules}.py"
    return f'"""Generated from fastopt/rules/{rules}.py by {here}: change those, not this."""\n'


def indent(lines: Sequence[str]) -> str:
    """Return the text of lines, indented by one level."""
    return "".join(f"    {line}\n" for line in lines)


def framed(frame: str, **parts: str | list[str]) -> list[str]:
    """Return the lines of a template with its fields replaced: by text, or by lines with the field's indentation."""
    lines = []
    for line in frame.splitlines():
        part = parts.get(line.strip()[1:-1])
        if isinstance(part, list):
            lines += textwrap.indent("\n".join(part), line[: line.index("{")]).splitlines()
        else:
            lines.append(line.format(**parts))
    return lines


def loaded(element: str, storage: str, dtype: str) -> str:
    """Convert a stored value to the compute type."""
    return element if storage == dtype else f"load_{storage}({element})"


def stored(value: str, storage: str, dtype: str) -> str:
    """Convert a value of the compute type to its storage type, with rounding."""
    return value if storage == dtype else f"store_{storage}({value})"
