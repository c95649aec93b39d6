"""mypy and pyright on fastopt: the code in the docs passes, results have types, and mistakes are reported."""

from __future__ import annotations

import inspect
import json
import os
import re
import runpy
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import typing_extensions

import fastopt
from fastopt import optim
from fastopt.common.types import BackwardOptions, OptimizerOptions, Unpack
from fastopt.data import minibatches as batches
from fastopt.optim import Optimizer
from tests.docs.test_pages import CONTINUED, PAGES, blocks_of, program_of
from tests.support import ROOT

pytestmark = pytest.mark.ci

#: Programs that are written for type checkers.
CASES = ROOT / "tests" / "typed"

#: Functions in the docs have no annotations, much of NumPy returns Any, and other packages may be missing or untyped.
MYPY = """
[mypy]
strict = true
python_version = 3.10
disallow_untyped_defs = false
disallow_incomplete_defs = false
disallow_untyped_calls = false
warn_return_any = false
disable_error_code = import-untyped
[mypy-fastopt.*]
follow_imports = silent
[mypy-jax.*,matplotlib.*,ml_dtypes.*,numba.*,rich.*,sklearn.*,torch.*]
ignore_missing_imports = true
[mypy-keras.*,skorch.*,stable_baselines3.*,thinc.*]
ignore_missing_imports = true
follow_imports = skip
"""

PYRIGHT = {
    "typeCheckingMode": "basic",
    "pythonVersion": "3.10",
    "extraPaths": [str(ROOT)],
    "reportMissingImports": False,
    "useLibraryCodeForTypes": False,
}

#: By file, the lines in which a checker found something, and what.
Found = dict[str, dict[int, str]]


def programs() -> dict[str, str]:
    """Return each block of the docs that imports what it needs, the examples, and the cases, by file name."""
    written = {
        f"{block.page.stem.replace('-', '_')}_{block.line}.py": "\n" * (block.line - 1) + block.text
        for page in PAGES
        if page.name not in CONTINUED
        for block in blocks_of(page)
        if re.search(r"^(import|from) ", block.text, re.M) and not block.text.startswith("# fastopt/")
    }
    continued = {f"{page.stem}.py": program_of(page) for page in PAGES if page.name in CONTINUED}
    files = [*(ROOT / "docs" / "examples").glob("*.py"), *CASES.glob("*.py")]
    return {**written, **continued, **{path.name: path.read_text() for path in files}}


def run(folder: Path, *command: str) -> str:
    """Run a checker in the folder of programs; return what it printed."""
    environment = {**os.environ, "MYPYPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    command = sys.executable, "-m", *command
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: it has found something
    return done.stdout


def found_by_mypy(folder: Path) -> Found:
    """Run mypy over all programs."""
    (folder / "mypy.ini").write_text(MYPY)
    printed = run(folder, "mypy", "--config-file=mypy.ini", f"--cache-dir={ROOT / '.mypy_cache' / 'typing'}", ".")
    found: Found = defaultdict(dict)
    for path, line, what in re.findall(r"^([\w.]+):(\d+): error: (.*)", printed, re.M):
        found[path][int(line)] = what
    return found


def found_by_pyright(folder: Path) -> Found:
    """Run pyright over all programs."""
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    printed = json.loads(run(folder, "pyright", "--outputjson", "--pythonpath", sys.executable))
    found: Found = defaultdict(dict)
    for each in printed["generalDiagnostics"]:
        if each["severity"] == "error":
            found[Path(each["file"]).name][each["range"]["start"]["line"] + 1] = each["message"]
    assert printed["summary"]["filesAnalyzed"] >= len(programs())
    return found


@pytest.fixture(scope="module", params=[found_by_mypy, found_by_pyright], ids=["mypy", "pyright"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Return what a checker found: it runs once, for it takes ten seconds to read NumPy."""
    folder = tmp_path_factory.mktemp("programs")
    for name, text in programs().items():
        (folder / name).write_text(text)
    check: Callable[[Path], Found] = request.param
    return check(folder)


@pytest.mark.parametrize("name", sorted(programs().keys() - {"refused.py"}))
def test_nothing_is_found(found: Found, name: str) -> None:
    assert found.get(name, {}) == {}


def test_slips_are_found(found: Found) -> None:
    lines = (CASES / "refused.py").read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# error")}
    assert found["refused.py"].keys() == marked


def test_values_are_of_the_types_that_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """`assert_type` in accepted.py says what a checker knows; here it looks at the values themselves."""
    monkeypatch.setattr(typing_extensions, "assert_type", checked)
    runpy.run_path(str(CASES / "accepted.py"))


def checked(value: object, said: object) -> object:
    """Return a value that is of a type, as `assert_type` does; fail if it is not."""
    assert is_of_type(value, said), f"{value!r} is no {said}"
    return value


def is_of_type(value: object, said: Any) -> bool:
    """Look at classes, at the dtypes of arrays, and at the items of tuples."""
    kind, arguments = get_origin(said) or said, get_args(said)
    if said is Any:
        return True
    if kind in (Union, UnionType):
        return any(is_of_type(value, each) for each in arguments)
    if kind is tuple:
        assert isinstance(value, tuple)
        items = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return len(value) == len(items) and all(map(is_of_type, value, items))
    if kind is np.ndarray:
        (dtype,) = get_args(arguments[1])
        return isinstance(value, np.ndarray) and (dtype is Any or value.dtype == dtype)
    return isinstance(value, kind)


@pytest.mark.parametrize(
    ("options", "function", "others"),
    [
        (OptimizerOptions, Optimizer.__init__, set()),
        (batches._Options, fastopt.minibatches, {"batch_size", "indices_only"}),
        (BackwardOptions, fastopt.batch_norm_backward, {"residual"}),
        (BackwardOptions, fastopt.batch_norm_backward_inference, {"residual", "eps"}),
        (BackwardOptions, fastopt.layer_norm_backward, {"residual"}),
        (BackwardOptions, fastopt.instance_norm_backward, {"residual"}),
        (BackwardOptions, fastopt.group_norm_backward, {"residual", "groups"}),
    ],
)
def test_options_are_those_of_the_function(options: type, function: Callable[..., Any], others: set[str]) -> None:
    taken = inspect.signature(function).parameters.values()
    assert {each.name for each in taken if each.kind is each.KEYWORD_ONLY} == {*options.__annotations__} | others


@pytest.mark.parametrize("name", optim.__all__)
def test_every_optimizer_names_its_options(name: str) -> None:
    """Hints can be evaluated, as tools do."""
    hints = get_type_hints(getattr(optim, name).__init__)
    if name not in ("Group", "Optimizer", "StepResult"):
        assert hints["options"] == Unpack[OptimizerOptions]
