"""The public modules, which `fastopt` imports when they are asked for, and what it says of a name that it lacks."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import fastopt

#: All of them.
MODULES = ("init", "norm", "numba", "optim", "scaling", "schedules", "torch", "updates")

#: Those that import another package, which takes a second or more, or fails where it is missing. ``dir(fastopt)`` has
#: them only once they are imported: `help` and `inspect.getmembers` get every attribute that ``dir`` lists.
HEAVY = ("numba", "torch")

#: What a module is for whose names are those of another one, too.
PURPOSES = {"torch": " for PyTorch parameters"}


def import_public(module: str) -> ModuleType:
    """Import a public module for an attribute: where it can't be imported, `hasattr` is to be False."""
    try:
        return import_module(f"fastopt.{module}")
    except ImportError as error:
        raise AttributeError(f"fastopt.{module} can't be imported: {error}") from error


def missing(name: str) -> str:
    """Return what to say of an attribute that `fastopt` lacks: in which module it is, whatever its case."""
    says = f"fastopt has no attribute {name!r}"
    if name.startswith("_"):  # Python and its tools ask for many of these
        return says
    found = [(module, public) for module in MODULES for public in public_names(module) if _alike(public, name)]
    exact = [(module, public) for module, public in found if public == name]
    places = [f"fastopt.{module}.{public}{PURPOSES.get(module, '')}" for module, public in exact or found]
    others = f" (or {', '.join(places[1:])})" if places[1:] else ""
    return f"{says}; it is {places[0]}{others}" if places else says


def public_names(module: str) -> list[str]:
    """Return the ``__all__`` of a public module as its source has it: nothing is imported for an error message."""
    loader: Any = getattr(find_spec(f"fastopt.{module}"), "loader", None)
    for node in ast.parse(loader.get_source(f"fastopt.{module}") or "").body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


def _alike(public: str, name: str) -> bool:
    """True if a name that `fastopt` lacks may stand for this one of a module's."""
    return public not in fastopt.__all__ and _letters(public) == _letters(name)


def _letters(name: str) -> str:
    return name.replace("_", "").lower()
