"""Modules of generated text, whose functions become part of a user's."""

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

#: The modules that have functions of coefficients.
MODULES = sorted({update.coefficients.__module__ for spec in UPDATES.values() for update in spec.updates.values()})

_SOURCES = [rules, primitives, shared, ranges, *(sys.modules[name] for name in MODULES)]

#: Tells this version's functions from another's: Numba links machine code by names.
VERSION = hashlib.sha256(chr(0).join([version.VERSION, *map(inspect.getsource, _SOURCES)]).encode()).hexdigest()[:12]


def module(text: str, **names: Any) -> dict[str, Any]:
    """Return the names of a module with this text, which also has the given ones."""
    names["__name__"] = __name__  # a module that can be imported when Numba reads its cache
    file = f"<fastopt_{hashlib.sha256((VERSION + text).encode()).hexdigest()[:12]}>"
    exec(compile(text, file, "exec"), names)
    return names
