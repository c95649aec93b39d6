"""What kernels for CUDA devices have in common: what they are given, and how their text is put together.

Indices and sizes are 64 bits and unsigned, as ``index`` makes them: what is signed, Numba might count from the end.
There is no number in a text, for a literal is a signed one: what `NUMBERS` and a kernel's own numbers list are globals.
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

#: Numbers that all texts go by.
NUMBERS = {"none": 0, "single": 1, "zero64": 0.0, "one64": 1.0, "infinite64": math.inf}

#: A thread's place among all, and how many there are.
PLACE = "index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x)"
PLACES = "index(cuda.gridDim.x) * index(cuda.blockDim.x)"


class Written(ABC):
    """A kernel that writes its own text, and is hashable: it takes pointers, then words, then scalars."""

    #: The compute type.
    dtype: str
    #: The module of fastopt/rules/ whose functions it runs.
    rules = "norm"
    #: The texts of other functions.
    helpers: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """What it is, for whoever reads a traceback."""
        return type(self).__name__.lower()

    @property
    @abstractmethod
    def pointers(self) -> list[tuple[str, str]]:
        """Names of the pointers, and what is there; what is written comes last, as the simulator wants it."""

    @property
    def words(self) -> list[str]:
        """Names of the indices and sizes."""
        return []

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the numbers that are no whole ones."""
        return ()

    @property
    def scalar_type(self) -> str:
        """What those are."""
        return "float64"

    @property
    def signature(self) -> list[str]:
        """What its arguments are: a pointer's is what it points to, with a star."""
        pointers = [f"{storage}*" for _, storage in self.pointers]
        return [*pointers, *["word"] * len(self.words), *[self.scalar_type] * len(self.scalars)]

    @property
    def numbers(self) -> Mapping[str, float]:
        """Numbers that its text goes by."""
        return {}

    @cached_property
    def functions(self) -> dict[str, Function]:
        """All functions of the module."""
        return parse_functions(inspect.getsource(import_module(f"fastopt.rules.{self.rules}")))

    @property
    def called(self) -> tuple[str, ...]:
        """Those that it runs."""
        return ()

    @abstractmethod
    def body(self) -> list[str]:
        """The lines of the kernel."""

    def text(self) -> str:
        """The Python module that has it, as ``kernel``."""
        arguments = ", ".join([*(f"{name}_" for name, _ in self.pointers), *self.words, *self.scalars])
        functions = (inlined(name, self.functions[name]) for name in self.called)
        parts = [header(self.rules), *functions, *self.helpers, f"def kernel({arguments}):\n{indent(self.body())}"]
        return "\n\n".join(parts)


def header(rules: str) -> str:
    """What a text begins with."""
    here = f"fastopt/codegen/cuda/{rules}.py"
    return f'"""Generated from fastopt/rules/{rules}.py by {here}: change those, not this."""\n'


def indent(lines: Sequence[str]) -> str:
    """The text of lines, a level deep."""
    return "".join(f"    {line}\n" for line in lines)


def framed(frame: str, **parts: str | list[str]) -> list[str]:
    """The lines of a frame, with the parts that it names in braces: lines, as deep as their name, or in a line."""
    lines = []
    for line in frame.splitlines():
        part = parts.get(line.strip()[1:-1])
        if isinstance(part, list):
            lines += textwrap.indent("\n".join(part), line[: line.index("{")]).splitlines()
        else:
            lines.append(line.format(**parts))
    return lines


def loaded(element: str, storage: str, dtype: str) -> str:
    """What is stored, in the compute type."""
    return element if storage == dtype else f"load_{storage}({element})"


def stored(value: str, storage: str, dtype: str) -> str:
    """A value of the compute type, rounded to what is stored."""
    return value if storage == dtype else f"store_{storage}({value})"
