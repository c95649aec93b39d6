"""A table of text, shown on a terminal or written into a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table


@dataclass
class Grid:
    """Rows of text under headings; the first columns are words, the others numbers."""

    title: str
    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    words: int = 1

    def for_terminal(self) -> Table:
        """Return the table as rich draws it, with lines between groups of the first column."""
        table = Table(title=self.title, title_justify="left")
        for i, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if i < self.words else "right")
        grouped = 2 * len({row[0] for row in self.rows}) <= len(self.rows)
        for row, following in zip(self.rows, [*self.rows[1:], None], strict=True):
            table.add_row(*row, end_section=grouped and following is not None and following[0] != row[0])
        return table

    def for_markdown(self) -> str:
        """Return the table as Markdown; its title is left to the page."""
        alignment = ["---"] * self.words + ["---:"] * (len(self.headings) - self.words)
        return "\n".join("| " + " | ".join(row) + " |" for row in [self.headings, alignment, *self.rows])
