"""Display of objects: their repr, and the names for tab completion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class Display:
    """A mixin: `repr` is ``Name(part, name=value, ...)``, and `dir` lists only public names."""

    #: Names without an underscore that are private.
    _internal: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._parts())})"

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_") and name not in self._internal]

    def _parts(self) -> Iterable[str]:
        """Return the parts between the parentheses; by default, the public attributes."""
        return keywords({name: value for name, value in vars(self).items() if not name.startswith("_")})


def keywords(values: Mapping[str, Any]) -> list[str]:
    """Return ``name=value`` for each value except None."""
    return [f"{name}={value!r}" for name, value in values.items() if value is not None]


def number_of(count: int, noun: str) -> str:
    """Return ``1 noun``, or ``2 nouns``."""
    return f"{count} {noun}{'s' * (count != 1)}"
