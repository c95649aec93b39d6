"""The recipes with other libraries, each in a process of its own; test_pages.py runs those that need none."""

from __future__ import annotations

import re

import pytest

from tests.docs.test_pages import ROOT, blocks_of
from tests.peers import require
from tests.support import run_python

pytestmark = pytest.mark.peers

BLOCKS = [block for block in blocks_of(ROOT / "docs" / "recipes.md") if not block.is_complete]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.text.partition("\n")[0].strip("# "))
def test_the_recipe_runs(block):
    for name in re.findall(r"^(?:import|from) (\w+)", block.text, re.M):
        require(name)
    run_python(block.text, KERAS_BACKEND="torch")
