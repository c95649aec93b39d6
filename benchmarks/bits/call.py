"""A call of fastopt: its name, which determines its arguments, and a function that makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from benchmarks.bits.digest import digest
from benchmarks.bits.inputs import Inputs

#: The backends of a function
BACKENDS = ("cython", "numba", "reference")
CYTHON_ONLY = BACKENDS[:1]

#: Calls use these numbers of threads in turn.
THREADS = (1, 2, 3)


class Options(TypedDict, total=False):
    """Settings that must not affect results."""

    num_threads: int
    backend: str


@dataclass(frozen=True)
class Call:
    """The call ``name/number``: ``make`` returns its result. Functions without ``backend=`` use Cython kernels."""

    name: str
    number: int
    make: Callable[[Inputs, Options], Any]
    backends: tuple[str, ...] = BACKENDS

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    def record(self, options: Options) -> tuple[str, str]:
        """Return the digest of all results and arrays, or the name of an error, and the arguments."""
        inputs = Inputs(str(self))
        try:
            with np.errstate(all="ignore"):
                returned = self.make(inputs, options)
        except Exception as error:
            return type(error).__name__, " ".join(str(error).split())
        return digest(returned, inputs.memory), ", ".join(inputs.notes)


def calls_of(
    name: str, count: int, make: Callable[[Inputs, Options], Any], backends: tuple[str, ...] = BACKENDS
) -> list[Call]:
    """Return several calls of one function."""
    return [Call(name, number, make, backends) for number in range(count)]
