"""scikit-learn's own tests of its scalers, with ours in their place."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import peer
from tests.support import ROOT

suite = peer("sklearn.preprocessing.tests.test_data")
peer("fastopt.sklearn")

SWAPPED = ("MaxAbsScaler", "MinMaxScaler", "StandardScaler")

#: Tests that are left out, with the reason.
LEFT_OUT = {
    "test_standard_scaler_sample_weight_array_api": "arrays of other libraries, by scikit-learn's array API dispatch",
    "test_preprocessing_array_api_compliance": "arrays of other libraries",
    "test_preprocessing_integer_array_api_on_float32_only_device": "arrays of other libraries, on a device of Apple's",
    "test_standard_scaler_array_api_compliance": "arrays of other libraries",
}


def names_of_tests(source: str) -> list[str]:
    """Return the names of the tests that mention one of the scalers, in their decorators or bodies."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    mention = re.compile(rf"\b({'|'.join(SWAPPED)})\b")
    texts = {node.name: "".join(map(ast.unparse, [*node.decorator_list, node])) for node in functions}
    return [name for name, text in texts.items() if name.startswith("test_") and mention.search(text)]


@pytest.mark.peers
def test_scikit_learn_tests(tmp_path):
    source = Path(suite.__file__).read_text()
    names = names_of_tests(source)
    assert len(names) >= 35
    imports = source.index("\niris = ")
    swapped = f"{source[:imports]}\nfrom fastopt.sklearn import {', '.join(SWAPPED)}\n{source[imports:]}"
    (tmp_path / "test_swapped.py").write_text(swapped)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    chosen = [f"test_swapped.py::{name}" for name in names if name not in LEFT_OUT]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *chosen]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    summary = done.stdout.strip().splitlines()[-1]
    print(summary)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", summary)[1]) >= 200, summary
