"""The configuration that fastopt reports."""

from __future__ import annotations

import os

from fastopt.config import config
from tests.support import run_python


def test_every_heading_is_told_and_nothing_is_empty():
    told = config()
    assert list(told) == ["fastopt", "python", "packages", "processor", "threads", "backends", "devices"]
    assert all(value for entries in told.values() for value in entries.values())
    assert told["backends"]["cython"] == "ready"


def test_limits_come_with_where_they_come_from():
    program = "from fastopt.config import config; print(config()['threads'], config()['processor']['kernels for'])"
    isa = config()["processor"]["usable"].split(", ")[0]
    printed = run_python(program, FASTOPT_NUM_THREADS="1", FASTOPT_ISA=isa)
    assert "'of a call': '1'" in printed
    assert "FASTOPT_NUM_THREADS=1" in printed
    assert f"{isa} (FASTOPT_ISA)" in printed
    if hasattr(os, "sched_getaffinity"):
        one = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {program}"
        assert "'affinity': '1 of " in run_python(one)


def test_a_missing_package_is_told_with_the_command_that_installs_it():
    program = """
import sys
sys.modules["numba"] = None
import runpy
runpy.run_module("fastopt", run_name="__main__")
"""
    printed = run_python(program)
    assert (
        "numba         can't run: backend 'numba' needs a package that is missing: pip install 'fastopt[numba]'"
        in printed
    )
    assert "cuda          can't run: " in printed


def test_it_starts_nothing():
    program = """
import threading, os
import fastopt
fastopt.show_config()
assert threading.active_count() == 1 and len(os.listdir("/proc/self/task")) == 1
"""
    assert "started       0" in run_python(program, OPENBLAS_NUM_THREADS="1", FASTOPT_NUM_THREADS="2")
