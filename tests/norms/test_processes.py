"""Promises 4, 5, 7, 8, 11 and 14 for norms: import, floating-point mode, fork, threads, memory."""

from __future__ import annotations

import sys
import textwrap
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.engine.test_processes import READ_MXCSR, old_processor
from tests.norm_cases import BY_NAME, CASES
from tests.support import assert_same_bits, copies, cpus, run_python

OF_EACH_NORM = [case for case in CASES if case.name.endswith("+both") and case.axis == 1]


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


def test_the_callers_floating_point_mode_does_not_matter():
    """Division by zero trapped, subnormals flushed on output only: same results, and every bit comes back."""
    program = READ_MXCSR + textwrap.dedent("""
        from tests.norm_cases import EXTREMES
        from tests.support import assert_same_bits, copies
        code.seek(16); code.write(bytes([0x0F, 0xAE, 0x17, 0xC3]))  # ldmxcsr [rdi]; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(code)) + 16
        ldmxcsr = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))(address)
        for case in EXTREMES:
            for shape in ((3, 6, 5), (4, 16, 60, 61)):
                arrays = case.make_arrays(shape)
                arrays["x"][0] = 0
                strange = copies(arrays)
                wanted = case.run(arrays)
                ldmxcsr(ctypes.c_uint32(0x1F80 & ~0x200 | 0x8000))
                try:
                    got = case.run(strange)
                    seen = mxcsr()
                finally:
                    ldmxcsr(ctypes.c_uint32(0x1F80))
                assert seen == (0x1F80 & ~0x200 | 0x8000) & 0xFFC0, hex(seen)
                assert_same_bits(got, wanted, case.name)
    """)
    run_python(program)


@pytest.mark.parametrize("parent_runs", [True, False])
def test_norms_in_a_forked_child(parent_runs):
    """With threads of its own, whether or not the parent had some; and the child's bits are the parent's."""
    program = f"""
import hashlib, os, numpy as np
from fastopt.engine.threads.threads import pretend_cpu_limit
from tests.norm_cases import EXTREMES
pretend_cpu_limit(3)
def digest():
    found = hashlib.sha256()
    for case in EXTREMES:
        for array in case.run(case.make_arrays((4, 16, 80, 80))).values():
            found.update(np.ascontiguousarray(array).tobytes())
    return found.digest()
if {parent_runs}:
    digest()
read, write = os.pipe()
children = [os.fork() for _ in range(1)]
if children[0] == 0:
    found = digest()
    assert len(os.listdir("/proc/self/task")) >= 3, "the child has no threads of its own"
    os.write(write, found)
    os._exit(0)
assert os.waitpid(children[0], 0)[1] == 0
assert os.read(read, 100) == digest()
"""
    run_python(program, PYTHONWARNINGS="ignore")


def test_a_fork_during_norms_of_other_threads():
    program = """
import os, threading
from fastopt.engine.threads.threads import pretend_cpu_limit
from tests.norm_cases import BY_NAME
pretend_cpu_limit(3)
case, stop = BY_NAME["batch"], threading.Event()
def work():
    arrays = case.make_arrays((4, 16, 80, 80))
    while not stop.is_set():
        case.run(arrays)
workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers:
    worker.start()
mine = case.make_arrays((4, 16, 80, 80))
for _ in range(10):
    child = os.fork()
    if child == 0:
        for _ in range(3):
            case.run(mine)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for worker in workers:
    worker.join()
"""
    run_python(program, PYTHONWARNINGS="ignore")


@pytest.mark.parametrize("case", OF_EACH_NORM, ids=lambda case: case.name)
def test_python_threads_at_once_get_the_serial_bits(case):
    starts = [case.make_arrays((4, 16, 50, 50 + k), seed=k) for k in range(6)]
    serial = [case.run(copies(start), num_threads=1) for start in starts]
    with cpus(4), ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            for got, wanted in zip(pool.map(lambda start: case.run(copies(start)), starts), serial, strict=True):
                assert_same_bits(got, wanted)


def test_the_gil_is_released_during_a_large_norm():
    """No thread is made to give way, so that another gets on only when a call lets it."""
    case = BY_NAME["batch"]
    arrays = case.make_arrays((8, 32, 120, 120))
    turns = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(lambda: [(case.run(arrays), len(turns))[1] for _ in range(20)])
            while not done.done():
                turns.append(None)
                time.sleep(0)  # lets the other thread on, should it wait
    finally:
        sys.setswitchinterval(interval)
    assert len(set(done.result())) > 2, "other threads stood still from call to call"


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


def test_small_norms_start_no_thread():
    program = """
import os, numpy as np, fastopt
x = np.ones((64, 128), "f4")
before = len(os.listdir("/proc/self/task"))
fastopt.batch_norm_forward(x)
fastopt.batch_norm_forward(x, num_threads=8)
large = np.ones((64, 64, 30, 30), "f4")
fastopt.batch_norm_forward(large, num_threads=1)
assert len(os.listdir("/proc/self/task")) == before
from fastopt.engine.threads.threads import pretend_cpu_limit
pretend_cpu_limit(3)
fastopt.batch_norm_forward(large)
assert len(os.listdir("/proc/self/task")) == before + 2
"""
    run_python(program)


def test_the_default_path_runs_on_an_old_processor():
    program = """
import hashlib, sys, numpy as np
from fastopt.backends.cython import ISA
from tests.norm_cases import EXTREMES
digest = hashlib.sha256()
for case in EXTREMES:
    for shape, dtype in (((3, 6, 7, 7), "f4"), ((5, 1025), "f2"), ((9, 40), "f8")):
        for array in case.run(case.make_arrays(shape, dtype)).values():
            digest.update(np.ascontiguousarray(array).tobytes())
print(ISA, digest.hexdigest(), "numba" in sys.modules)
"""
    here = run_python(program).split()
    there = run_python(program, prefix=old_processor(), OPENBLAS_CORETYPE="Nehalem").split()
    assert there == ["x86-64-v2", here[1], "False"]


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


@pytest.mark.parametrize("case", OF_EACH_NORM, ids=lambda case: case.name)
def test_calls_do_not_leak(case):
    arrays = case.make_arrays((4, 6, 5, 3))
    arrays["dy"] = np.asfortranarray(arrays["dy"])
    for _ in range(10):
        case.run(arrays)
    tracemalloc.start()
    for _ in range(10):
        case.run(arrays)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(500):
        case.run(arrays)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 10_000
