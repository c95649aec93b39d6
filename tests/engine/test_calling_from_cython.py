"""Cython packages that cimport fastopt.kernels, built by pip with fastopt installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fastopt
from tests.support import ROOT, run_python, write_files_of

pytestmark = pytest.mark.ci


@pytest.fixture(scope="module")
def search_path(tmp_path_factory):
    """Build the package of the page and the one in tests/downstream; return where they and fastopt are."""
    folder = tmp_path_factory.mktemp("cython")
    shutil.copytree(ROOT / "tests" / "downstream" / "cython", folder / "calls")
    (folder / "fitting").mkdir()
    write_files_of("calling-from-cython.md", folder / "fitting")
    found = filter(None, [str(Path(fastopt.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(found),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "CFLAGS": "-O0 -g0",  # the compiler takes a fifth of the time
    }
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        "--target",
        str(folder / "built"),
    ]
    subprocess.run([*pip, str(folder / "calls"), str(folder / "fitting")], env=environment, check=True)
    return os.pathsep.join([environment["PYTHONPATH"], str(folder / "built")])


def test_the_pages_package(search_path):
    program = """
        import numpy as np
        import fastopt, fitting
        from tests.cases import BY_NAME
        from tests.support import assert_same_bits, copies
        called = BY_NAME["adam"].make_arrays(37)
        target = np.linspace(-1, 1, 37, dtype=np.float32)
        expected = copies(called)
        fitting.fit(called["param"], target, called["grad"], called["m"], called["v"], 20, 0.01)
        for step in range(1, 21):
            expected["grad"] = expected["param"] - target
            fastopt.adam(**expected, step=step, lr=0.01)
        assert_same_bits(called, expected)
    """
    run_python(textwrap.dedent(program), PYTHONPATH=search_path)


def test_other_types_and_forms(search_path):
    program = """
        import numpy as np
        import calls, fastopt
        from tests.cases import BY_NAME
        from tests.support import assert_same_bits, copies
        for weight_decay in (0.0, 0.1):
            called = BY_NAME["adam"].make_arrays(16)
            expected = copies(called)
            kernel = fastopt.kernel("adam", "float32", weight_decay=True)
            calls.adam(*called.values(), kernel.prepare(step=3, weight_decay=weight_decay), 10)
            for _ in range(10):
                fastopt.adam(**expected, step=3, weight_decay=weight_decay)
            assert_same_bits(called, expected)
        called = BY_NAME["adamw"].make_arrays(1000, np.float64)
        expected = copies(called)
        calls.adamw(*called.values(), fastopt.kernel("adam", "float64", decay=True).prepare(step=3))
        fastopt.adamw(**expected, step=3)
        assert_same_bits(called, expected)
    """
    run_python(textwrap.dedent(program), PYTHONPATH=search_path)
