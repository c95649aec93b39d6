"""Promises 4, 5, 7, 8, 11 and 14 for norms: import, floating-point mode, fork, threads, memory."""

from __future__ import annotations

import textwrap

import pytest

from tests.engine.test_processes import READ_MXCSR
from tests.support import run_python


def test_a_call_loads_nothing_and_changes_no_mode():
    """Subnormals would be slow, and are flushed while kernels run; the process's mode is its own again afterwards."""
    program = READ_MXCSR + textwrap.dedent("""
        import os, sys, numpy as np
        before = mxcsr(), len(os.listdir("/proc/self/task"))
        import fastopt
        assert (mxcsr(), len(os.listdir("/proc/self/task"))) == before
        for shape in ((4, 3), (8, 16, 100, 100)):
            x = np.full(shape, 1e-39, "f4")
            y, mean, rstd = fastopt.batch_norm_forward(x)
            fastopt.batch_norm_backward(x, x, None, mean, rstd, y=y, activation="relu")
            fastopt.layer_norm_forward(x)
            assert mxcsr() == before[0]
        loaded = {name.partition(".")[0] for name in sys.modules}
        assert not loaded & {"numba", "torch", "llvmlite", "cupy", "jax", "ml_dtypes"}, loaded
    """)
    assert run_python(program) == ""


@pytest.mark.ci
def test_calls_leave_their_memory_to_the_next():
    """Not to the system, which had to give back 550 pages a step of 8 samples and 16,384 channels, one at a time."""
    program = """
import resource, numpy as np, fastopt
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
x, weight = np.ones((8, 16_384), "f4"), np.ones(16_384, "f4")
out = fastopt.batch_norm_forward(x, weight, weight)
grads = fastopt.batch_norm_backward(x, x, weight, *out[1:])
def step():
    fastopt.batch_norm_forward(x, weight, weight, out=out)
    fastopt.batch_norm_backward(x, x, weight, *out[1:], out=grads)
for _ in range(3):
    step()
before = faults()
for _ in range(50):
    step()
assert faults() - before < 250, faults() - before
"""
    run_python(program)


@pytest.mark.ci
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "float16"])
def test_a_norm_into_given_arrays_allocates_little(layout):
    """Of 64 MB arrays: statistics, a copy of which takes a few kilobytes, and nothing of an array's size."""
    program = f"""
import numpy as np, fastopt
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
make = {{
    "contiguous": lambda: np.ones((16, 64, 128, 128), "f4"),
    "channels last": lambda: np.moveaxis(np.ones((16, 128, 128, 64), "f4"), -1, 1),
    "float16": lambda: np.ones((16, 64, 128, 128), "f2"),
}}[{layout!r}]
x, y, dx = make(), make(), make()
def both():
    _, mean, rstd = fastopt.batch_norm_forward(x, out=y)
    fastopt.batch_norm_backward(y, x, None, mean, rstd, out=dx)
both()
before = resident()
for _ in range(3):
    both()
print(resident() - before)
"""
    assert int(run_python(program)) < 1 << 20
