"""docs/adding-an-optimizer.md, executed in a copy of the package, which is built and tested."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_pages import blocks_of
from tests.support import ROOT

PAGE = ROOT / "docs" / "adding-an-optimizer.md"
COPIED = ("benchmarks", "build", "fastopt", "tests", "pyproject.toml", "setup.py", "README.md")

#: Generic tests, which find the new optimizer in the registry.
TESTS = (
    "tests/updates",
    "tests/optim/test_optim.py",
    "tests/contracts/test_same_bits.py",
    "tests/contracts/test_refusals.py",
)

#: The object and the PyTorch class make the steps of the function.
STEPS = """
import numpy as np, fastopt
from fastopt import optim
function, other = np.ones(5, "f4"), np.ones(5, "f4")
average, grad = np.zeros(5, "f4"), np.arange(5, dtype="f4")
optimizer = optim.{name}([other], lr=0.5, nu=0.25)
for _ in range(3):
    fastopt.{update}(function, grad, average, lr=0.5, nu=0.25)
    optimizer.step([grad])
assert np.array_equal(function, other) and not np.array_equal(function, np.ones(5))
try:
    import torch
except ImportError:
    raise SystemExit
from fastopt.torch import {name}
param = torch.nn.Parameter(torch.ones(5))
optimizer = {name}([param], lr=0.5, nu=0.25)
for _ in range(3):
    param.grad = torch.arange(5.0)
    optimizer.step()
assert np.array_equal(function, param.detach().numpy())
assert np.array_equal(average, optimizer.state[param]["momentum_buffer"])
"""


def add(folder: Path) -> tuple[str, ...]:
    """Write the page's blocks into the files that their first lines name; return the names that they define."""
    added = {}
    for block in blocks_of(PAGE):
        path, text = re.fullmatch(r"# (fastopt/\S+)\n(.*)", block.text, re.S).groups()
        imports, body = re.fullmatch(r"((?:from [^\n]*\n)*)(.*)", text, re.S).groups()
        (added[path],) = re.findall(r"^(?:def|class) ([a-zA-Z]\w*)", body, re.M)
        written = (folder / path).read_text()
        written = written.replace("import annotations\n", f"import annotations\n\n{imports}", 1) if imports else written
        written = written.replace("\n__all__ = [", f'\n__all__ = ["{added[path]}", ', 1)
        (folder / path).write_text(f"{written}\n\n{body}")
    assert list(added) == [
        "fastopt/rules/update.py", "fastopt/updates/descent.py", "fastopt/optim/descent.py", "fastopt/torch/descent.py",
    ]  # fmt: skip
    return tuple(dict.fromkeys(added.values()))


@pytest.mark.ci
@pytest.mark.timeout(900)
def test_the_page_adds_an_optimizer(tmp_path: Path) -> None:
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    update, optimizer = add(tmp_path)
    run(tmp_path, "setup.py", "build_ext", "--inplace", "-j2")
    run(tmp_path, "-c", STEPS.format(update=update, name=optimizer))
    said = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, "-k", update)
    assert int(re.search(r"(\d+) passed", said)[1]) > 30, said


def run(folder: Path, *command: str) -> str:
    """Run Python in the copy of the package, built for this machine only; return what it printed."""
    environment = {**os.environ, "FASTOPT_BUILD": "native", "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
