"""CUDA without a device: the simulator's tests in a separate process, and messages about missing packages."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import fastopt
from tests.peers import peer
from tests.support import ROOT, run_python


@pytest.mark.timeout(1200)  # two minutes as a rule
def test_kernels_run_in_the_simulator():
    """All of tests/cuda; NUMBA_ENABLE_CUDASIM is read when Numba is imported."""
    peer("numba_cuda")
    command = [
        "env",
        "NUMBA_ENABLE_CUDASIM=1",
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/cuda",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 100
    assert "skipped" not in done.stdout


DEVICE_ARRAY = """
import numpy as np, fastopt
class OnDevice:
    __cuda_array_interface__ = {"shape": (3,), "typestr": "<f4", "data": (4096, False), "version": 3}
try:
    fastopt.sgd(OnDevice(), OnDevice(), lr=0.5)
except fastopt.BackendUnavailable as error:
    print(error)
"""

WITHOUT_THE_PACKAGE = """
import importlib.metadata
version = importlib.metadata.version
def without_numba_cuda(name):
    if name == "numba-cuda":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = without_numba_cuda
"""


def test_a_missing_package_is_named_with_what_installs_it():
    said = run_python(WITHOUT_THE_PACKAGE + DEVICE_ARRAY)
    assert said == "backend 'cuda' needs a package that is missing: pip install \"numba-cuda[cu13]\"\n"


def test_a_missing_driver_is_named_with_the_versions():
    numba_cuda = peer("numba_cuda")
    said = run_python(DEVICE_ARRAY, CUDA_VISIBLE_DEVICES="")
    assert said.startswith("backend 'cuda' ")
    assert "driver" in said
    assert f"version {numba_cuda.__version__}" in said
    assert 'pip install "numba-cuda[cu13]"' in said


def test_host_arrays_never_import_the_target():
    program = """
import sys, numpy as np, fastopt
fastopt.sgd(np.ones(3), np.ones(3), lr=0.5)
print([name for name in sys.modules if name.startswith(("numba", "cuda", "fastopt.device."))])
"""
    assert run_python(program) == "[]\n"


@pytest.mark.parametrize("name", ["stream", "backend"])
def test_every_function_has_the_option(name):
    import inspect

    from fastopt import init
    from fastopt.layers import dropout, residual
    from fastopt.norm import batch, group, instance, layer
    from fastopt.specs.updates import UPDATES

    functions = [getattr(init, name) for name in init.__all__]
    functions += [spec.function for spec in UPDATES.values()]
    for module in (batch, layer, instance, group, residual, dropout):
        own = [
            each for each in vars(module).values() if inspect.isfunction(each) and each.__module__ == module.__name__
        ]
        functions += [getattr(fastopt, each.__name__) for each in own if not each.__name__.startswith("_")]
    for function in functions:
        assert inspect.signature(function).parameters[name].default is None
