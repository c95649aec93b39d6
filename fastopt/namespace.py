"""The public modules, which `fastopt` imports on first use, and the errors for unknown names."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

import fastopt

#: All public modules.
MODULES = ("augment", "init", "norm", "numba", "optim", "scaling", "schedules", "sklearn", "torch", "updates")

#: Modules that import another package, which takes a second or more, or fails if it is missing. ``dir(fastopt)`` lists
#: them only once they are imported, because `help` and `inspect.getmembers` get every attribute that it lists.
HEAVY = ("numba", "sklearn", "torch")

#: The purpose of a module whose names are also those of another module.
PURPOSES = {"sklearn": " for scikit-learn pipelines", "torch": " for PyTorch parameters"}


def import_public(module: str) -> ModuleType:
    """Import a public module for an attribute; if that fails, raise AttributeError, so that `hasattr` is False."""
    try:
        return import_module(f"fastopt.{module}")
    except ImportError as error:
        raise AttributeError(f"fastopt.{module} can't be imported: {error}") from error


def missing(name: str) -> str:
    """Return the message for an attribute that `fastopt` lacks: the module that has it, ignoring case."""
    says = f"fastopt has no attribute {name!r}"
    if name.startswith("_"):  # Python and its tools look up many of these
        return says
    found = [(module, public) for module in MODULES for public in public_names(module) if _alike(public, name)]
    exact = [(module, public) for module, public in found if public == name]
    places = [f"fastopt.{module}.{public}{PURPOSES.get(module, '')}" for module, public in exact or found]
    others = f" (or {', '.join(places[1:])})" if places[1:] else ""
    return f"{says}; it is {places[0]}{others}" if places else says


def public_names(module: str) -> list[str]:
    """Return the ``__all__`` of a module from its source, so that an error message imports nothing."""
    names: list[str] = []
    imported: dict[str, str] = {}
    for node in ast.parse(_source(module)).body:
        if isinstance(node, ast.ImportFrom):
            imported |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and getattr(target, "id", "") == "__all__":
            if isinstance(node.value, ast.Attribute):  # that of another module
                names += public_names(imported[ast.unparse(node.value.value)].removeprefix("fastopt."))
            elif node.value is not None:
                names += ast.literal_eval(node.value)
    return names


def _source(module: str) -> str:
    """Return the text of a module of the package. `find_spec` would import its parent packages."""
    path: Any = fastopt.__path__
    spec = None
    for name in module.split("."):
        spec = PathFinder.find_spec(f"fastopt.{name}", path)
        path = getattr(spec, "submodule_search_locations", None)
    loader: Any = getattr(spec, "loader", None)
    return loader.get_source(loader.name) or ""


def _alike(public: str, name: str) -> bool:
    """True if an unknown name of `fastopt` may mean this name of a module."""
    return public not in fastopt.__all__ and _letters(public) == _letters(name)


def _letters(name: str) -> str:
    return name.replace("_", "").lower()
