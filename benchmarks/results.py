"""Results: rows, and the CSV file that stores them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.timing import Timing
from benchmarks.workload import Workload


@dataclass(frozen=True)
class Result:
    """One row: the seconds per call of one candidate. Columns that do not apply to a measure are empty or 0."""

    measure: str
    case: str
    shape: str
    storage: str
    elements: int
    candidate: str
    bytes: int
    samples: int
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, timing: Timing, measure: str, candidate: str, workload: Workload | None = None) -> Result:
        """Return the row of a timing."""
        if workload is None:
            return cls(measure, "", "", "", 0, candidate, 0, **asdict(timing))
        what = (workload.name, workload.shape, workload.storage, workload.elements)
        return cls(measure, *what, candidate, workload.bytes, **asdict(timing))


#: Types of columns that are not strings
Columns: TypeAlias = dict[str, Any]


@dataclass
class Results:
    """All rows of one run, and the machine of the measurements."""

    machine: dict[str, str]
    rows: list[Result] = field(default_factory=list)

    def select(self, **columns: object) -> Iterator[Result]:
        """Yield the rows with these values."""
        for row in self.rows:
            if all(getattr(row, name) == value for name, value in columns.items()):
                yield row

    def median(self, candidate: str, measure: str, **columns: object) -> float | None:
        """Return the median time of a candidate, or None if it was not measured."""
        return next((row.median for row in self.select(candidate=candidate, measure=measure, **columns)), None)

    def best(self, *candidates: str, **columns: object) -> float | None:
        """Return the shortest median of several candidates."""
        medians = [self.median(candidate, **columns) for candidate in candidates]
        return min((median for median in medians if median is not None), default=None)

    def cases(self) -> list[str]:
        """Return the names of the measured updates, in order."""
        return list(dict.fromkeys(row.case for row in self.select(measure="update")))

    def norms(self) -> list[Columns]:
        """Return the measured norms, in order."""
        rows = self.select(measure="norm")
        keys = dict.fromkeys((row.case, row.shape, row.storage) for row in rows)
        return [dict(zip(("case", "shape", "storage"), key, strict=True)) for key in keys]

    def sizes(self) -> list[int]:
        """Return the numbers of elements of updates."""
        return sorted({row.elements for row in self.select(measure="update")})


COLUMNS = [column.name for column in fields(Result)]


def write_csv(results: Results, path: Path) -> None:
    """Write the rows after a header of lines that start with ``#``, one for each fact about the machine."""
    with path.open("w", newline="") as file:
        file.writelines(f"# {name}: {value}\n" for name, value in results.machine.items())
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in results.rows)


def read_csv(path: Path) -> Results:
    """Read a file written by `write_csv`."""
    lines = path.read_text().splitlines()
    facts = [line[2:].split(": ", 1) for line in lines if line.startswith("# ")]
    results = Results(dict(facts))
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        numbers = {name: int(row.pop(name)) for name in ("elements", "bytes", "samples")}
        seconds = {name: float(row.pop(name)) for name in ("low", "median", "high")}
        results.rows.append(Result(**row, **numbers, **seconds))
    return results
