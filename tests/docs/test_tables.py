"""Tables of the documentation that follow from the code: updates, environment variables, what is supported."""

from __future__ import annotations

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
