"""How messages show a caller's values: on one line of limited length."""

from __future__ import annotations

import reprlib
from typing import Any


class _Brief(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80

    def repr_int(self, number: int, level: int) -> str:
        if number.bit_length() > 4096:  # Python refuses to print numbers of more than 4,300 digits
            return f"a whole number of {number.bit_length()} bits"
        text: str = super().repr_int(number, level)
        return text


_brief = _Brief()


def brief(value: Any) -> str:
    """Return ``repr(value)``, shortened if it is long."""
    return " ".join(_brief.repr(value).split())


def shortened(text: str) -> str:
    """Return a text on one line, without its middle if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:50]} ... {line[-25:]}"
