"""Builds of fastopt to compare; each runs a module of these benchmarks in a separate process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

#: The parent folder of the package `benchmarks`
HERE = Path(__file__).resolve().parents[1]

#: fastopt is imported from the build, but benchmarks from here: an old build may lack them.
START = """
import sys
sys.path[:0] = {first!r}
import fastopt
sys.path.insert(0, {here!r})
from {module} import main
main()
"""


@dataclass(frozen=True)
class Build:
    """An interpreter, and the tree from which it imports fastopt; None: the installed package."""

    python: str
    tree: str | None

    @classmethod
    def of(cls, path: str) -> Build:
        """Return the build in a folder, with the folder's interpreter if it has one, or the build of an interpreter."""
        given = Path(path).absolute()  # not resolved: the interpreter of an environment is a link
        if not given.is_dir():
            return cls(str(given), None)
        own = given / ".venv" / "bin" / "python"
        return cls(str(own) if own.exists() else sys.executable, str(given))

    @classmethod
    def current(cls) -> Build:
        """Return the build that ``import fastopt`` finds in this process."""
        found = find_spec("fastopt")
        if found is None or found.origin is None:
            raise ModuleNotFoundError("fastopt was not found; expected an installed package or a built tree")
        return cls(sys.executable, str(Path(found.origin).parents[1]))

    def command(self, module: str, *arguments: str) -> list[str]:
        """Return the command that runs ``main`` of a module; run it outside of trees of fastopt."""
        first = [] if self.tree is None else [self.tree]
        return [self.python, "-c", START.format(first=first, here=str(HERE), module=module), *arguments]
