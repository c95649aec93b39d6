"""A promised figure, computed from one run's results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Results


@dataclass(frozen=True)
class Figure:
    """A number with its requirement: a lower or an upper limit, or none."""

    label: str
    measured: Callable[[Results], float | None]
    sign: str = ""
    limit: float | None = None
    unit: str = "x"

    def verdict(self, value: float) -> str:
        """Return whether the requirement is met."""
        if self.limit is None:
            return ""
        return "met" if (value >= self.limit if self.sign == ">=" else value <= self.limit) else "missed"

    @property
    def asked(self) -> str:
        """Return the requirement as text."""
        return "" if self.limit is None else f"{self.sign} {self.limit:g} {self.unit}".rstrip()


def ratio(slower: float | None, faster: float | None) -> float | None:
    """Return the ratio of the first to the second time."""
    return None if slower is None or faster is None else slower / faster


def over(results: Results, *rivals: str, own: str = "cython", **columns: object) -> float | None:
    """Return fastopt's speedup over the fastest of the rivals, in the rows with these columns."""
    return ratio(results.best(*rivals, **columns), results.median(own, **columns))


def once(candidate: str, measure: str, scale: float, **columns: object) -> Callable[[Results], float | None]:
    """Return a function that returns a candidate's median time, in 1 / scale seconds."""

    def scaled(results: Results) -> float | None:
        seconds = results.median(candidate, measure, **columns)
        return None if seconds is None else scale * seconds

    return scaled
