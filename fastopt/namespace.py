"""The public modules, which `fastopt` imports when they are asked for, and what it says of a name that it lacks."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

import fastopt

#: All of them.
MODULES = ("augment", "init", "norm", "numba", "optim", "scaling", "schedules", "sklearn", "torch", "updates")

#: Those that import another package, which takes a second or more, or fails where it is missing. ``dir(fastopt)`` has
#: them only once they are imported: `help` and `inspect.getmembers` get every attribute that ``dir`` lists.
HEAVY = ("numba", "sklearn", "torch")

#: What a module is for whose names are those of another one, too.
PURPOSES = {"sklearn": " for scikit-learn pipelines", "torch": " for PyTorch parameters"}


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
    """Return the ``__all__`` of a module as its source has it: nothing is imported for an error message."""
    names: list[str] = []
    imported: dict[str, str] = {}
    for node in ast.parse(_source(module)).body:
        if isinstance(node, ast.ImportFrom):
            imported |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and getattr(target, "id", "") == "__all__":
            if isinstance(node.value, ast.Attribute):  # of another module
                names += public_names(imported[ast.unparse(node.value.value)].removeprefix("fastopt."))
            elif node.value is not None:
                names += ast.literal_eval(node.value)
    return names


def _source(module: str) -> str:
    """Return the text of a module of the package. `find_spec` would import the packages that it lies in."""
    path: Any = fastopt.__path__
    spec = None
    for name in module.split("."):
        spec = PathFinder.find_spec(f"fastopt.{name}", path)
        path = getattr(spec, "submodule_search_locations", None)
    loader: Any = getattr(spec, "loader", None)
    return loader.get_source(loader.name) or ""


def _alike(public: str, name: str) -> bool:
    """True if a name that `fastopt` lacks may stand for this one of a module's."""
    return public not in fastopt.__all__ and _letters(public) == _letters(name)


def _letters(name: str) -> str:
    return name.replace("_", "").lower()
