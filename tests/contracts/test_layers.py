"""The import layers of pyproject.toml, without cycles, in Python and in Cython."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fastopt

ROOT = Path(fastopt.__file__).parents[1]

IMPORT = re.compile(
    r"^[ \t]*(?:from\s+(fastopt[\w.]*)\s+c?import\s+(\([^)]*\)|[^\n]*)|c?import\s+(fastopt[\w.]*))", re.M
)
TEXT = re.compile(r'("""|\'\'\')[\s\S]*?\1')

#: From the lowest up: a module imports none of a higher layer. Cython's imports count, and those inside functions.
LAYERS = (
    ("specs",),
    ("common",),
    ("engine.core", "engine.threads"),
    ("backends",),
    ("engine", "specs.updates"),
    ("device",),
    ("optim",),
)


def imports() -> dict[str, set[str]]:
    """Return for each module of the package, Cython's included, the modules that it imports."""
    files = [path for kind in ("py", "pyx", "pxd") for path in (ROOT / "fastopt").rglob(f"*.{kind}")]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files}
    modules = set(names.values())
    found: dict[str, set[str]] = {name: set() for name in modules}
    for path, name in names.items():
        for origin, members, whole in IMPORT.findall(TEXT.sub("", path.read_text())):
            listed = re.sub(r"#.*", "", members).strip("()").split(",")
            inner = {f"{origin}.{member.split(' as ')[0].strip()}" for member in listed if member.strip()}
            submodules = inner & modules
            found[name] |= submodules | (
                {origin or whole} & modules if len(submodules) < len(inner) or whole else set()
            )
        found[name] -= {name, "fastopt"}  # of the package itself, only public names are imported
    return found


def test_no_circles() -> None:
    TopologicalSorter(imports()).prepare()


def test_layers() -> None:
    """No module imports one of a higher layer."""
    numbers = {f"fastopt.{name}.": number for number, names in enumerate(LAYERS) for name in names}

    def layer(module: str) -> int:
        """Return a module's layer; -1 for those of none, and for what only declares C."""
        path = ROOT / module.replace(".", "/")
        if not path.is_dir() and not any(path.with_suffix(f".{kind}").exists() for kind in ("py", "pyx")):
            return -1
        matching = [name for name in numbers if f"{module}.".startswith(name)]
        return numbers[max(matching, key=len)] if matching else -1

    upwards = [
        f"{importer} -> {imported}"
        for importer, each in imports().items()
        for imported in each
        if 0 <= layer(importer) < layer(imported)
    ]
    assert not upwards


def test_contracts_of_pyproject(monkeypatch: pytest.MonkeyPatch) -> None:
    linter = pytest.importorskip("importlinter.cli")
    monkeypatch.chdir(ROOT)
    assert linter.lint_imports(cache_dir=None) == 0
