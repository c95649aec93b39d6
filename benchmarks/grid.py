"""A table of text, for terminals and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table


@dataclass
class Grid:
    """Rows of text with headings; the first columns are words, the others numbers."""

    title: str
    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    words: int = 1

    def for_terminal(self) -> Table:
        """Return the table for rich, with lines between groups of the first column."""
        table = Table(title=self.title, title_justify="left")
        for i, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if i < self.words else "right")
        grouped = 2 * len({row[0] for row in self.rows}) <= len(self.rows)
        for row, following in zip(self.rows, [*self.rows[1:], None], strict=True):
            table.add_row(*row, end_section=grouped and following is not None and following[0] != row[0])
        return table

    def for_markdown(self) -> str:
        """Return the table as Markdown, without a title."""
        alignment = ["---"] * self.words + ["---:"] * (len(self.headings) - self.words)
        return "\n".join("| " + " | ".join(row) + " |" for row in [self.headings, alignment, *self.rows])
