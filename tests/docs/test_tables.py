"""Tables of the documentation that follow from the code: updates, environment variables, what is supported."""

from __future__ import annotations

import runpy
from operator import attrgetter

import pytest

from tests.peers import peer
from tests.support import ROOT

# ---- choosing-an-optimizer.md


def test_the_table_of_updates_is_current():
    """If this fails, run `python docs/list_updates.py`."""
    page = runpy.run_path(str(ROOT / "docs" / "list_updates.py"))["page"]()
    assert (ROOT / "docs" / "choosing-an-optimizer.md").read_text() == page


@pytest.mark.peers
@pytest.mark.parametrize(("column", "module"), [(0, "torch.optim"), (1, "optax"), (2, "keras.optimizers")])
def test_names_in_other_libraries_exist(column, module):
    if module == "keras.optimizers":
        pytest.importorskip("keras")  # only to see whether its names are still right: nothing else is compared with it
    library = peer(module)
    for names in runpy.run_path(str(ROOT / "docs" / "list_updates.py"))["ELSEWHERE"].values():
        if names[column] != "—":
            assert callable(attrgetter(names[column])(library))
