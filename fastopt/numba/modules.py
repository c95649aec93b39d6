"""Modules of generated source, whose functions are compiled into the user's."""

from __future__ import annotations

import hashlib
import inspect
import sys
from typing import Any

from fastopt import primitives
from fastopt.coefficients import ranges
from fastopt.coefficients import update as shared
from fastopt.common import version
from fastopt.rules import update as rules
from fastopt.specs.updates import UPDATES

#: The modules with functions of coefficients.
MODULES = sorted({update.coefficients.__module__ for spec in UPDATES.values() for update in spec.updates.values()})

_SOURCES = [rules, primitives, shared, ranges, *(sys.modules[name] for name in MODULES)]

#: Part of function names, by which Numba links machine code, to separate versions of fastopt.
VERSION = hashlib.sha256(chr(0).join([version.VERSION, *map(inspect.getsource, _SOURCES)]).encode()).hexdigest()[:12]


def module(text: str, **names: Any) -> dict[str, Any]:
    """Return the namespace of a module with this text and the given names."""
    names["__name__"] = __name__  # an importable module, which Numba needs to read its cache
    file = f"<fastopt_{hashlib.sha256((VERSION + text).encode()).hexdigest()[:12]}>"
    exec(compile(text, file, "exec"), names)
    return names
