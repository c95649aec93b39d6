"""The tables of docs/array-libraries.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.support import ROOT

PAGE = ROOT / "docs" / "array-libraries.md"


class Row(NamedTuple):
    """A row of a table of the page."""

    as_grad: str
    as_target: str
    refusal: str

    def check(self, answer: str, name: str, call: Callable[[], object]) -> None:
        """Make a call that has to be accepted, or refused with this message about an argument; … is any text."""
        if answer == "yes":
            call()
            return
        parts = (re.escape(part) for part in self.refusal.strip("`").split("…"))
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(name)} {'.*'.join(parts)}$"):
            call()


def rows_below(heading: str) -> dict[str, Row]:
    """Return the rows of the table below a heading, by their first cells."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    rows = {name: Row(*cells, *[""] * (3 - len(cells))) for name, *cells in lines[1:]}
    assert len(rows) == len(lines) - 1, "two rows have one name"
    for row in rows.values():
        assert {row.as_grad, row.as_target} <= {"yes", "no"}
        assert bool(row.refusal) == ("no" in row)
    return rows
