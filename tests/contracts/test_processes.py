"""Forks, floating-point modes, old processors, the number of threads: every function in separate processes."""

from __future__ import annotations

import textwrap

import pytest

from tests.contracts.families import FAMILIES
from tests.engine.test_processes import READ_MXCSR, old_processor
from tests.support import run_python

families = pytest.mark.parametrize("family", FAMILIES)


@pytest.mark.parametrize("parent_runs", [True, False])
@families
def test_a_child_of_fork(family, parent_runs):
    """It has threads of its own, whether or not the parent had some; and its bits are the parent's."""
    program = f"""
import os
from hashlib import sha256
from fastopt.engine.threads.threads import pretend_cpu_limit
from tests.contracts.families import CALLS, digests
pretend_cpu_limit(3)
calls = [call for call in CALLS if call.family == {family!r}]
def made():
    return sha256(repr([digests(call, call.large[:1], dtypes=1) for call in calls]).encode()).digest()
if {parent_runs}:
    made()
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, made())
    os._exit(0 if len(os.listdir("/proc/self/task")) >= 3 else 1)  # it has threads of its own
assert os.waitpid(child, 0)[1] == 0
assert os.read(read, 100) == made()
"""
    run_python(program, PYTHONWARNINGS="ignore")


@pytest.mark.ci
@families
def test_a_fork_during_calls_of_other_threads(family):
    program = f"""
import os, threading
from fastopt.engine.threads.threads import pretend_cpu_limit
from tests.contracts.families import CALLS
pretend_cpu_limit(3)
call = next(call for call in CALLS if call.family == {family!r})
stop, arrays = threading.Event(), [call.make(call.large[0], "f4") for _ in range(3)]
call.run(arrays[0])  # what it imports, no other thread does meanwhile: Python's locks of imports stay locked in a child
def work(mine):
    while not stop.is_set():
        call.run(mine)
workers = [threading.Thread(target=work, args=(mine,), daemon=True) for mine in arrays[1:]]
for worker in workers:  # an error below ends them, too
    worker.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        for _ in range(3):
            call.run(arrays[0])
        os._exit(0 if len(os.listdir("/proc/self/task")) == 3 else 1)  # it has threads of its own
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for worker in workers:
    worker.join()
"""
    run_python(program, PYTHONWARNINGS="ignore")


def test_small_calls_start_no_thread_and_large_ones_do():
    program = """
import os
from fastopt.engine.threads.threads import pretend_cpu_limit
from tests.contracts.families import CALLS
def threads():
    return len(os.listdir("/proc/self/task"))
calls = [call for call in CALLS if call.family not in ("rules", "optim") and call.name != "Whitener"]
before = threads()
for call in calls:
    for shape in call.small[:3]:
        call.run(call.make(shape, "f4"))
        call.run(call.make(shape, "f4"), num_threads=8)
    call.run(call.make(call.large[0], "f4"), num_threads=1)
    assert threads() == before, call.name
pretend_cpu_limit(3)
for call in calls:
    call.run(call.make(call.large[0], "f4"))
assert threads() == before + 2
"""
    run_python(program)


def test_the_callers_floating_point_mode_returns_and_does_not_matter():
    """Division by zero trapped, subnormals flushed on output only: same results, and every bit comes back.

    (Another direction of rounding would change the coefficients, which are Python's own arithmetic.)
    """
    program = READ_MXCSR + textwrap.dedent("""
        from tests.contracts.families import CALLS
        from tests.support import assert_same_bits, copies
        code.seek(16); code.write(bytes([0x0F, 0xAE, 0x17, 0xC3]))  # ldmxcsr [rdi]; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(code)) + 16
        ldmxcsr = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))(address)
        for call in CALLS:
            for shape in (call.small[0], call.large[0]):
                arrays = call.make(shape, call.dtypes[0])
                for array in arrays.values():
                    array.flat[:3] = 0
                strange = copies(arrays)
                wanted = copies(call.run(arrays))
                ldmxcsr(ctypes.c_uint32(0x1F80 & ~0x200 | 0x8000))
                try:
                    got = call.run(strange)
                    seen = mxcsr()
                finally:
                    ldmxcsr(ctypes.c_uint32(0x1F80))
                assert seen == (0x1F80 & ~0x200 | 0x8000) & 0xFFC0, (call.name, hex(seen))
                assert_same_bits(got, wanted, call.name)
    """)
    run_python(program)


@pytest.mark.ci
def test_an_old_processor():
    """Without Numba; whitening is LAPACK's, which has other instructions there."""
    program = """
import sys
from fastopt.backends.cython import ISA
from tests.contracts.families import CALLS, digests
from hashlib import sha256
calls = [call for call in CALLS if call.family != "rules" and call.name != "Whitener"]
made = [(call.name, digests(call, call.small[2:3])) for call in calls]
print(ISA, sha256(repr(made).encode()).hexdigest(), "numba" in sys.modules)
"""
    here = run_python(program).split()
    there = run_python(program, prefix=old_processor(), OPENBLAS_CORETYPE="Nehalem").split()
    assert there == ["x86-64-v2", here[1], "False"]
