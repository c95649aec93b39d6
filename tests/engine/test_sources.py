"""The C files of the engine: each name is defined once, and files use only those of the layers below."""

from __future__ import annotations

import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support import ROOT

FASTOPT = ROOT / "fastopt"
ENGINE = FASTOPT / "engine"
SOURCES = sorted(
    path
    for folder in (ENGINE, FASTOPT / "codegen" / "cython")
    for path in folder.rglob("*")
    if path.suffix in (".c", ".h")
)

#: Folders of the engine, each of which may include from those on lines above it.
LAYERS = [{"core"}, {"threads"}, {"update", "norm", "scaling", "random", "rows"}, {"capi"}]


def code_of(path: Path) -> str:
    """Return a file's text without comments, strings and continued lines."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", path.read_text(), flags=re.DOTALL)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', text).replace("\\\n", " ")


def included_by(path: Path) -> list[Path]:
    """Return the files of the engine that a file includes."""
    names = re.findall(r'#include "([^"]+)"', path.read_text())
    return [ENGINE / name for name in names if (ENGINE / name).exists()]


def types_in(code: str) -> set[str]:
    """Return the types that are defined: structures and unions, enumerations by their tags, and typedefs."""
    tags = re.findall(r"\b(?:struct|union|enum)\s+(\w+)\s*{", code)
    outlines = without_blocks(re.sub(r"^\s*#.*", "", code, flags=re.MULTILINE))
    typedefs = re.findall(
        r"\btypedef\b[^;]*?(?:\(\s*\*\s*(\w+)\s*\)[^;]*|(\w+))(?:\s*__attribute__[^;]*)?\s*;", outlines
    )
    return {*tags, *(name for pair in typedefs for name in pair if name)}


def macros_in(code: str) -> set[str]:
    """Return the macros that are defined, but for the guards of headers."""
    return {
        name for name in re.findall(r"#\s*define\s+(\w+)", code) if not re.fullmatch(r"FASTOPT_\w+_H|_GNU_SOURCE", name)
    }


def constants_in(code: str) -> set[str]:
    """Return the constants of enumerations."""
    bodies = re.findall(r"\benum\b\s*\w*\s*{([^}]*)}", code)
    return {name for body in bodies for name in re.findall(r"(?:^|,)\s*(\w+)", body)}


def without_blocks(code: str) -> str:
    """Return what stands outside of braces."""
    while "{" in code:
        shorter = re.sub(r"{[^{}]*}", " ", code)
        assert shorter != code, "braces do not match"
        code = shorter
    return code


def functions_in(code: str) -> set[str]:
    """Return the functions that are defined."""
    lines = re.sub(r"^\s*#.*", "", code, flags=re.MULTILINE)
    heads = re.findall(r"^[A-Za-z][\w \t*]*?\b(\w+)\s*\([^;{}]*\)\s*{", lines, flags=re.MULTILINE)
    return set(heads) - {"if", "for", "while", "switch"}


KINDS = {"type": types_in, "macro": macros_in, "constant": constants_in, "function": functions_in}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_defined_twice(kind: str) -> None:
    """A name means one thing in all files."""
    places = defaultdict(list)
    for path in SOURCES:
        for name in KINDS[kind](code_of(path)):
            places[name].append(str(path.relative_to(FASTOPT)))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_no_name_is_of_two_kinds() -> None:
    """A macro, a constant, a function and a type have different names."""
    kinds = defaultdict(set)
    for path in SOURCES:
        for kind, names_in in KINDS.items():
            for name in names_in(code_of(path)):
                kinds[name].add(kind)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_the_kinds_are_found() -> None:
    """The patterns above know what definitions look like."""
    code = (
        code_of(ENGINE / "update" / "job.c")
        + code_of(ENGINE / "update" / "job.h")
        + code_of(ENGINE / "core" / "kernel.h")
    )
    assert {"job_t", "layout_t", "task", "kernel_t"} <= types_in(code)
    assert {"MAX_SLOTS", "MAX_ARRAYS"} <= macros_in(code)
    assert {"FIRST_PASS", "SECOND_PASS", "WEIGHTS"} <= constants_in(code_of(ENGINE / "norm" / "norm.h"))
    assert {"plan_job", "run_tiles", "storage_size"} <= functions_in(code)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(FASTOPT)))
def test_files_include_from_lower_layers(path: Path) -> None:
    """Whoever reads a file needs to know only its own folder and those below."""
    if ENGINE not in path.parents:
        assert included_by(path) == []
        return
    own = path.relative_to(ENGINE).parts[0]
    (level,) = (level for level, folders in enumerate(LAYERS) if own in folders)
    allowed = {own}.union(*LAYERS[:level])
    assert {each.relative_to(ENGINE).parts[0] for each in included_by(path)} <= allowed


def test_headers_include_each_other_without_circles() -> None:
    """Of two files, at most one includes the other."""
    assert_acyclic({path: included_by(path) for path in SOURCES})


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=lambda folder: folder.name)
def test_files_of_a_folder_call_each_other_without_circles(folder: Path) -> None:
    """Of two C files, at most one calls functions of the other."""
    codes = {path: code_of(path) for path in SOURCES if path.parent == folder and path.suffix == ".c"}
    defined = {name: path for path, code in codes.items() for name in functions_in(code)}
    calls = {
        path: {defined[name] for name in re.findall(r"\w+", code) if defined.get(name, path) != path}
        for path, code in codes.items()
    }
    assert_acyclic(calls)


def assert_acyclic(graph: dict) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names = " -> ".join(path.name for path in error.args[1])
        raise AssertionError(f"a circle: {names}") from error
