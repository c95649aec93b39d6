"""Tables of the documentation that follow from the code: updates, environment variables, what is supported."""

from __future__ import annotations

import re
import runpy

import pytest

from tests.peers import require
from tests.support import ROOT, run_python

# ---- choosing-an-optimizer.md


def test_the_table_of_updates_is_current():
    """If this fails, run `python docs/list_updates.py`."""
    page = runpy.run_path(str(ROOT / "docs" / "list_updates.py"))["page"]()
    assert (ROOT / "docs" / "choosing-an-optimizer.md").read_text() == page


@pytest.mark.peers
@pytest.mark.parametrize(("column", "module"), [(0, "torch.optim"), (1, "optax"), (2, "keras.optimizers")])
def test_names_in_other_libraries_exist(column, module):
    require(module)
    table = runpy.run_path(str(ROOT / "docs" / "list_updates.py"))["ELSEWHERE"]
    names = [row[column] for row in table.values() if row[column] != "—"]
    program = f"import operator\nimport {module} as library\nfor name in {names}: operator.attrgetter(name)(library)"
    run_python(program, KERAS_BACKEND="torch")


# ---- environment-variables.md


def test_the_page_lists_every_environment_variable_that_is_read():
    sources = [path for folder in ("fastopt", "tests") for path in (ROOT / folder).rglob("*.py*")]
    sources += [ROOT / "setup.py", *(ROOT / ".ci").iterdir()]
    read = set()
    for path in sources:
        if path.suffix not in (".pyc", ".pyi"):
            read.update(re.findall(r"""(?:environ(?:\.get\(|\[)|getenv\()["']([A-Z_]+)["']""", path.read_text()))
    assert not any("getenv(" in path.read_text() for path in (ROOT / "fastopt").rglob("*.[ch]"))
    page = (ROOT / "docs" / "environment-variables.md").read_text()
    listed = {name for cell in re.findall(r"^\| (`[A-Z].*?) \|", page, re.M) for name in re.findall("`(.+?)`", cell)}
    assert listed - read == {"CC", "CFLAGS", "LDFLAGS"}  # which setuptools reads
    assert read - listed == set()
