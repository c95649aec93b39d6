"""A call of fastopt: its name, from which its arguments follow, and what makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from benchmarks.bits.digest import digest
from benchmarks.bits.inputs import Inputs

#: The backends that a function may have.
BACKENDS = ("cython", "numba", "reference")
CYTHON_ONLY = BACKENDS[:1]

#: Calls take turns in how many threads they may use.
THREADS = (1, 2, 3)


class Options(TypedDict, total=False):
    """What must not change a bit."""

    num_threads: int
    backend: str


@dataclass(frozen=True)
class Call:
    """The call ``name/number``: ``make`` returns what it gives. Functions without ``backend=`` are Cython's only."""

    name: str
    number: int
    make: Callable[[Inputs, Options], Any]
    backends: tuple[str, ...] = BACKENDS

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    def record(self, options: Options) -> tuple[str, str]:
        """Return the digest of all results and arrays, or the name of an error, and what the arguments were."""
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
    """Return some calls of one function."""
    return [Call(name, number, make, backends) for number in range(count)]
