"""Objects and lists that refuse assignments that would have no effect; the error says what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

_T = TypeVar("_T")

#: Converts an assigned value, given the attribute's name, or raises.
Check = Callable[[str, Any], Any]


def unchecked(name: str, given: _T) -> _T:
    """Return the assigned value, which is checked when it is used."""
    return given


class Guarded:
    """An object that refuses assignments to attributes if they would have no effect.

    Private attributes can be assigned, and so can attributes that a subclass outside of this library adds.
    """

    #: The attributes that can be assigned, each with its check.
    _assignable: ClassVar[dict[str, Check]] = {}

    #: For each other attribute, what to do instead. A constructor can assign it once.
    _instead: ClassVar[dict[str, str]] = {}

    _is_foreign: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._is_foreign = cls.__module__.partition(".")[0] != __name__.partition(".")[0]

    if not TYPE_CHECKING:  # otherwise type checkers would allow any name to be assigned

        def __setattr__(self, name: str, value: Any) -> None:
            if not name.startswith("_"):
                if name in self._assignable:
                    value = self._assignable[name](name, value)
                elif name in vars(self) or hasattr(type(self), name) or name not in self._instead:
                    self._refuse(name)
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        own = name in self._assignable or self._instead_of(name) is not None or not self._is_foreign
        if own and not name.startswith("_"):
            raise AttributeError(f"{name} of {type(self).__name__} can't be deleted")
        object.__delattr__(self, name)

    def _refuse(self, name: str) -> None:
        """Raise unless an attribute belongs to a user's subclass."""
        instead = self._instead_of(name)
        if instead is not None:
            raise AttributeError(f"{name} of {type(self).__name__} can't be assigned: {instead}")
        if not self._is_foreign:
            known = " or ".join(self._assignable)
            expected = f"expected {known}" if known else "it has no attributes that can be"
            raise AttributeError(f"{name} of {type(self).__name__} can't be assigned; {expected}")

    def _instead_of(self, name: str) -> str | None:
        return self._instead.get(name)


# ---- Lists and dicts


def _refuse(self: Any, *given: Any, **named: Any) -> NoReturn:
    raise TypeError(self.instead)


class FixedList(list[_T]):
    """A list that cannot be changed; ``instead`` is part of the error."""

    def __init__(self, values: list[_T], instead: str):
        super().__init__(values)
        self.instead = instead

    def __reduce__(self) -> Any:
        """Make copies plain lists."""
        return list, (list(self),)


class FixedDict(dict[Any, _T]):
    """A dict that cannot be changed; ``instead`` is part of the error."""

    def __init__(self, values: dict[Any, _T], instead: str):
        super().__init__(values)
        self.instead = instead

    def __reduce__(self) -> Any:
        """Make copies plain dicts."""
        return dict, (dict(self),)


_OF_LISTS = ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort", "__iadd__", "__imul__"]
_OF_DICTS = ["clear", "pop", "popitem", "setdefault", "update", "__ior__"]
for _kind, _names in ((FixedList, _OF_LISTS), (FixedDict, _OF_DICTS)):
    for _name in (*_names, "__setitem__", "__delitem__"):
        setattr(_kind, _name, _refuse)
