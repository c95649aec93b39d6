"""The documentation's site builds without a warning, and has every public name."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from fastopt.namespace import MODULES
from tests.peers import peer
from tests.support import ROOT


@pytest.mark.peers
@pytest.mark.timeout(600)
def test_the_site_has_every_public_name(tmp_path: Path) -> None:
    for package in ("sphinx", "furo", "myst_parser", "numpydoc", "sphinx_copybutton", "torch"):
        peer(package)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    for module in ("fastopt", *(f"fastopt.{name}" for name in MODULES)):
        page = (tmp_path / "api" / f"{module}.html").read_text()
        assert f'id="module-{module}"' in page
        for name in import_module(module).__all__:
            described = (tmp_path / "api" / module / f"{module}.{name}.html").read_text()
            assert f'id="{module}.{name}"' in described, f"{module}.{name} has no description"
