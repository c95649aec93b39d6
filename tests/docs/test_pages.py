"""The documentation is correct: docstrings, code in docstrings and in docs/, links, and numbers."""

from __future__ import annotations

import doctest
import inspect
import re
import runpy
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fastopt
import fastopt.norm
import fastopt.optim
import fastopt.scaling
import fastopt.schedules
from fastopt.specs.updates import UPDATES as SPECS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [path for path in (ROOT / "fastopt").rglob("*") if path.suffix in {".py", ".pyx", ".pxd", ".c", ".h"}]
SOURCES = [path for path in SOURCES if not re.match(r"(#|/\*) Generated from ", path.read_text())]

FUNCTIONS = [name for name in fastopt.__all__ if inspect.isroutine(getattr(fastopt, name))]
UPDATES = [name for name in FUNCTIONS if name in SPECS]
NORMS = [name for name in FUNCTIONS if getattr(fastopt, name).__module__.startswith("fastopt.norm.")]


# ---- Docstrings


def sections(name: str) -> dict[str, str]:
    """Return the sections of a function's docstring by title, and under "" what stands before them."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.getdoc(getattr(fastopt, name)) or "", flags=re.M)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(section: str) -> dict[str, str]:
    """Return the entry of each name in a section of parameters."""
    by_name = {}
    for entry in filter(None, re.split(r"\n(?=\S)", section.strip())):
        for name in re.split(" :|\n", entry)[0].split(", "):
            by_name[name] = entry
    return by_name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters(name: str) -> None:
    """Every public function documents each of its parameters, in the order of its signature."""
    documented = entries(sections(name).get("Parameters", ""))
    assert list(documented) == list(inspect.signature(getattr(fastopt, name)).parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples(name: str) -> None:
    """Every public function has an example, which gives what it says."""
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(fastopt, name), name, globs={})
    said: list[str] = []
    assert test.examples
    assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)


@pytest.mark.parametrize("name", UPDATES)
def test_sections(name: str) -> None:
    """Every update has a formula for what it updates first, and all sections."""
    documented = sections(name)
    target = next(iter(inspect.signature(getattr(fastopt, name)).parameters))
    assert re.search(rf"^    .*{target}.* -?= ", documented[""], re.M)
    assert list(documented) == ["", "Parameters", "Raises", "Notes", "References", "Examples"]


@pytest.mark.parametrize("name", UPDATES)
def test_arrays(name: str) -> None:
    """Every array is said to be read or updated, and state to start from something."""
    documented = entries(sections(name)["Parameters"])
    parameters = inspect.signature(getattr(fastopt, name)).parameters.values()
    param, grad, *state = (p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    assert f"{param} is updated, grad is read" in documented[param]
    assert documented[param] == documented[grad]
    for array in state:
        assert re.search(r" : array(, optional)?\n    Updated; starts? from ", documented[array])


@pytest.mark.parametrize("name", NORMS)
def test_sections_of_norms(name: str) -> None:
    """Every norm has a formula for its first result, and all sections; every array is said to be read or updated."""
    documented = sections(name)
    titles = ["", "Parameters", "Returns", "Raises", "Notes", "References", "Examples"]
    assert list(documented) == titles
    results = list(entries(documented["Returns"]))
    assert re.search(rf"^    {results[0]} = ", documented[""], re.M)
    for array, entry in entries(documented["Parameters"]).items():
        if " : array" in entry:
            effect = "Updated" if "forward" in name and array.startswith("running_") else "Read"
            assert re.search("\n    Written and returned" if array == "out" else f"\n    {effect}; ", entry), array


@pytest.mark.parametrize("package", [fastopt.updates, fastopt.norm])
def test_what_functions_share(package: ModuleType) -> None:
    """What the functions leave to their package's docstring is there."""
    shared = inspect.getdoc(package) or ""
    for word in ("eps", "backend", "num_threads", "ValueError", "TypeError", "BackendUnavailable"):
        assert word in shared


CLASSES = [getattr(fastopt.norm, name) for name in fastopt.norm.__all__]
CLASSES += [getattr(fastopt.scaling, name) for name in fastopt.scaling.__all__ if not name.endswith("Error")]
CLASSES += [getattr(fastopt.schedules, name) for name in fastopt.schedules.__all__]
CLASSES += [
    each
    for each in map(fastopt.optim.__dict__.get, fastopt.optim.__all__)
    if issubclass(each, fastopt.optim.Optimizer) and each is not fastopt.optim.Optimizer
]


@pytest.mark.parametrize("documented", CLASSES, ids=lambda documented: documented.__name__)
def test_classes(documented: type) -> None:
    """Every public class documents what it is made of, and has an example, which gives what it says."""
    name = documented.__name__
    (test,) = doctest.DocTestFinder(recurse=False).find(documented, name, globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
    parameters = re.search(r"Parameters\n-+\n(.*?)(?:\n\n|$)", inspect.getdoc(documented) or "", re.S)
    assert parameters
    assert {name.lstrip("*") for name in entries(parameters[1])} == set(inspect.signature(documented).parameters)


@pytest.mark.parametrize("package", [fastopt.optim, fastopt.scaling, fastopt.schedules])
def test_examples_of_packages(package: ModuleType) -> None:
    """The example of a package gives what it says."""
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(package) or "", {}, package.__name__, None, None)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_what_optimizers_share() -> None:
    """Its tables name every option."""
    doc = inspect.getdoc(fastopt.optim) or ""
    of_all = {*inspect.signature(fastopt.optim.Optimizer).parameters} - {"params", "hyperparameters", "unknown"}
    of_step = {*inspect.signature(fastopt.optim.Optimizer.step).parameters} - {"self", "grads"}
    assert {name for name in of_all | of_step if f"``{name}``" not in doc} == set()


# ---- Pages


@dataclass(frozen=True)
class Block:
    """A fenced block of Python in a page."""

    page: Path
    line: int
    text: str

    @property
    def is_complete(self) -> bool:
        """True for a program, False for a fragment."""
        return re.match(r"(import|from) ", self.text) is not None


#: Pages whose blocks continue each other: they are run, and checked, as one program.
CONTINUED = {"tutorial.md"}


def program_of(page: Path) -> str:
    """Return all blocks of a page as one program, whose lines have the numbers that they have in the page."""
    program = ""
    for block in blocks_of(page):
        program += "\n" * (block.line - 1 - program.count("\n")) + block.text
    return program


def blocks_of(page: Path) -> list[Block]:
    """Return the page's blocks of Python."""
    text = page.read_text()
    fenced = re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S)
    return [Block(page, text[: match.start()].count("\n") + 2, match[1]) for match in fenced]


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@every_page
def test_links(page: Path) -> None:
    """Every relative link leads to a file or folder."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    files = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in files if not (page.parent / target).exists()] == []


@every_page
def test_programs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block that begins with an import runs."""
    monkeypatch.chdir(tmp_path)
    complete = ["\n" * (block.line - 1) + block.text for block in blocks_of(page) if block.is_complete]
    for text in [program_of(page)] if page.name in CONTINUED else complete:
        program = tmp_path / f"{page.stem}.py"
        program.write_text(text)
        runpy.run_path(str(program), run_name="__main__")


def test_the_tutorial_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers may differ a little: a BLAS of another processor rounds in another order."""
    monkeypatch.chdir(tmp_path)
    page, names, number = ROOT / "docs" / "tutorial.md", {"__name__": "__main__"}, r"\d+(?:\.\d+)?"
    fenced = re.findall(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", page.read_text(), re.M | re.S)
    assert len(fenced) == len(blocks_of(page))
    for code, shown in fenced:
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(code, "tutorial.md", "exec"), names)
        assert re.sub(number, "#", printed.getvalue()) == re.sub(number, "#", shown)
        got, wanted = (np.array(re.findall(number, text), float) for text in (printed.getvalue(), shown))
        np.testing.assert_allclose(got, wanted, rtol=0.15, atol=0.02)


def test_the_page_on_batch_norm_shows_the_rules() -> None:
    """The page shows functions of rules/norm.py as they are."""
    rules = (ROOT / "fastopt" / "rules" / "norm.py").read_text()
    shown = [b.text for b in blocks_of(ROOT / "docs" / "batch-norm.md") if not b.is_complete]
    assert shown
    for function in "".join(shown).split("\n\n\n"):
        assert function.strip() in rules


@every_page
def test_constants(page: Path) -> None:
    """A number that is followed by a constant's name is its value."""
    folders = {"engine", "device", "codegen", "specs"}
    sources = "".join(path.read_text() for path in SOURCES if folders & set(path.parts))
    for number, name in re.findall(r"([\d,]+) \(`([A-Z_]+)`\)", page.read_text()):
        value = number.replace(",", "")
        assert re.search(rf"\b{name}\b\s*=?\s*{value}\b", sources), f"{name} is not {number}"


def test_architecture_lists_every_folder() -> None:
    """The table of folders has a line for each folder of the package that has sources, and for no other."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    listed = re.findall(r"^\| \[([\w/]+)\]\(\.\./fastopt/\1\) \|", page, re.M)
    package = ROOT / "fastopt"
    assert sorted(listed) == sorted({str(path.parent.relative_to(package)) for path in SOURCES} - {"."})
