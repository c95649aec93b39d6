"""Measures a call of `kernels.adam_float32` in a Cython loop: ``python -m benchmarks.in_cython``.

It builds the package of tests/downstream/cython, which requires Cython, setuptools and a compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType

import numpy as np

import fastopt
from tests.support import ROOT

SIZES = (4, 16, 64, 1000)
SAMPLES, CALLS = 21, 100_000


def build(folder: str) -> ModuleType:
    """Build the package in a folder, and import it."""
    source = shutil.copytree(ROOT / "tests" / "downstream" / "cython", Path(folder) / "source")  # pip builds in it
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--target", folder]
    where = str(Path(fastopt.__file__).parents[1])  # Cython does not find the .pxd of an editable installation
    subprocess.run([*command, str(source)], env={**os.environ, "PYTHONPATH": where}, check=True)
    sys.path.insert(0, folder)
    return import_module("calls")


def main() -> None:
    """Print the median and the minimum of several samples of many calls."""
    with tempfile.TemporaryDirectory() as folder:
        calls = build(folder)
        kernel = fastopt.kernel("adam", "float32")
        scalars = kernel.prepare(step=1)
        for size in SIZES:
            arrays = [np.ones(size, np.float32) for _ in range(4)]
            calls.adam(*arrays, scalars, CALLS)
            seconds = []
            for _ in range(SAMPLES):
                begin = perf_counter()
                calls.adam(*arrays, scalars, CALLS)
                seconds.append((perf_counter() - begin) / CALLS)
            middle, low = median(seconds) * 1e9, min(seconds) * 1e9
            print(f"{size:>6,} elements: {middle:6.1f} ns a call, {low:6.1f} at best, on {kernel.isa}")


if __name__ == "__main__":
    main()
