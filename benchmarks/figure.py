"""A figure: one number that the project promises, computed from one run's results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Results


@dataclass(frozen=True)
class Figure:
    """One number, and what is asked of it: at least or at most a limit, or nothing."""

    label: str
    measured: Callable[[Results], float | None]
    sign: str = ""
    limit: float | None = None
    unit: str = "x"

    def verdict(self, value: float) -> str:
        """Return whether what is asked is met."""
        if self.limit is None:
            return ""
        return "met" if (value >= self.limit if self.sign == ">=" else value <= self.limit) else "missed"

    @property
    def asked(self) -> str:
        """Return what is asked as text."""
        return "" if self.limit is None else f"{self.sign} {self.limit:g} {self.unit}".rstrip()


def ratio(slower: float | None, faster: float | None) -> float | None:
    """Return how many times faster the second is."""
    return None if slower is None or faster is None else slower / faster


def over(results: Results, *rivals: str, own: str = "cython", **columns: object) -> float | None:
    """Return how many times faster fastopt is than the best of the rivals, in the rows with these columns."""
    return ratio(results.best(*rivals, **columns), results.median(own, **columns))


def once(candidate: str, measure: str, scale: float, **columns: object) -> Callable[[Results], float | None]:
    """Return a function that tells one median time of a candidate, in 1 / scale of a second."""

    def scaled(results: Results) -> float | None:
        seconds = results.median(candidate, measure, **columns)
        return None if seconds is None else scale * seconds

    return scaled
