"""Promises 5, 7, 8 and 14: import, threads, fork, limits, old processors, each in a separate process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from fastopt.engine.threads import threads as engine
from tests.support import ROOT, run_python

# stmxcsr [rdi]; ret, in memory that may be executed
READ_MXCSR = """
import ctypes, mmap, platform
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes([0x0F, 0xAE, 0x1F, 0xC3]))
stmxcsr = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))(ctypes.addressof(ctypes.c_char.from_buffer(code)))
def mxcsr():
    value = ctypes.c_uint32()
    stmxcsr(value)
    return value.value & 0xFFC0
"""


def test_import_is_quiet():
    program = READ_MXCSR + textwrap.dedent("""
        import os, sys, numpy as np
        def threads():
            return len(os.listdir("/proc/self/task"))
        def environment():
            libc.environ_pointer = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
            pointer, found = libc.environ_pointer, []
            while pointer[len(found)] is not None:
                found.append(pointer[len(found)])
            return found
        libc = ctypes.CDLL(None)
        before = mxcsr(), threads(), environment()
        import fastopt
        assert (mxcsr(), threads(), environment()) == before
        loaded = {name.partition(".")[0] for name in sys.modules}
        assert not loaded & {"numba", "torch", "llvmlite", "cupy", "jax", "ml_dtypes"}, loaded
        assert "libcuda" not in open("/proc/self/maps").read()
        arrays = [np.full(500_000, 1e-39, "f4") for _ in range(4)]
        fastopt.adam(*arrays, step=1)
        fastopt.adam(*(x[:10] for x in arrays), step=1)
        assert (mxcsr(), environment()) == before[::2]
        assert not {name.partition(".")[0] for name in sys.modules} & {"numba", "torch", "llvmlite"}
    """)
    assert run_python(program) == ""


def test_signals_are_for_the_callers_threads():
    """A thread of the pool blocks all of them but its own faults; the caller's mask stays as it was."""
    program = """
import os, re, signal, time, numpy as np, fastopt
from pathlib import Path
from fastopt.engine.threads.threads import pretend_cpu_limit
def blocked(thread):
    mask = int(re.search(r"SigBlk:\\s+(\\w+)", Path(f"/proc/self/task/{thread}/status").read_text())[1], 16)
    return {number for number in range(1, 65) if mask >> number - 1 & 1}
pretend_cpu_limit(3)
signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
before = set(os.listdir("/proc/self/task"))
fastopt.adam(*(np.ones(400_000, "f4") for _ in range(4)), step=1)
workers = set(os.listdir("/proc/self/task")) - before
assert len(workers) == 2
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR2}
faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP}
expected = signal.valid_signals() - faults - {signal.SIGKILL, signal.SIGSTOP}
deadline = time.monotonic() + 60  # a new thread blocks every signal until the C library has set it up
for worker in workers:
    while blocked(worker) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert blocked(worker) == expected, blocked(worker)
"""
    run_python(program)


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"FASTOPT_NUM_THREADS": "1"}, 1),
        ({"FASTOPT_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}, 2),
        ({"FASTOPT_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "2,4"}, 2),
        ({}, 3),
    ],
)
def test_the_environment_says_how_many_threads(environment, threads):
    program = """
import os
from fastopt.engine.threads.threads import pretend_cpu_limit, get_num_threads
pretend_cpu_limit(3)
print(get_num_threads())
"""
    unset = {"FASTOPT_NUM_THREADS": "", "OMP_NUM_THREADS": ""}
    assert int(run_python(program, **{**unset, **environment})) == threads


def test_a_wrong_number_of_threads_in_the_environment_is_an_error_at_import():
    program = """
try:
    import fastopt
except ValueError as error:
    print(error)
"""
    printed = run_python(program, FASTOPT_NUM_THREADS="many")
    assert printed == "FASTOPT_NUM_THREADS is 'many'; expected a whole number, 1 or more\n"


def test_the_affinity_mask_limits_every_call():
    program = """
import os, numpy as np, fastopt
arrays = [np.ones(400_000, "f4") for _ in range(4)]
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
assert fastopt.get_num_threads() == 1
before = len(os.listdir("/proc/self/task"))
fastopt.adam(*arrays, step=1)
fastopt.adam(*arrays, step=1, num_threads=4)
assert len(os.listdir("/proc/self/task")) == before
"""
    run_python(program)


@pytest.mark.parametrize(
    ("lines", "files", "quota"),
    [
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4.0),
        ("2:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "300000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 3.0),
        ("2:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, None),
        ("3:cpuset:/a\n0::/a\n", {"a/cpu.max": "nonsense\n"}, None),
    ],
)
def test_the_cgroup_quota_is_the_tightest_up_to_the_root(tmp_path, lines, files, quota):
    (tmp_path / "groups").write_text(lines)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert engine.cgroup_quota_in(str(tmp_path / "groups"), str(tmp_path / "cgroup")) == quota


FORK = """
import os, sys, multiprocessing, numpy as np, fastopt
from fastopt.engine.threads.threads import pretend_cpu_limit
pretend_cpu_limit(3)
def step(size=600_000):
    arrays = [np.ones(size, "f4") for _ in range(4)]
    for k in range(1, 4):
        fastopt.adam(*arrays, step=k)
    assert len(os.listdir("/proc/self/task")) >= 3, "the child has no threads of its own"
    return float(arrays[0].sum())
if __name__ == "__main__":
    method, parent_steps = sys.argv[1:]
    if parent_steps == "yes":
        step()
    with multiprocessing.get_context(method).Pool(3) as pool:
        sums = pool.map(step, [600_000] * 6)
    assert set(sums) == {step()}, sums
"""


@pytest.mark.parametrize("parent_steps", ["yes", "no"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_steps_in_child_processes(tmp_path, method, parent_steps):
    program = tmp_path / "children.py"  # a file, for spawn imports it again
    program.write_text(FORK)
    command = [sys.executable, str(program), method, parent_steps]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def old_processor(name: str = "Nehalem") -> tuple[str, ...]:
    """The command that runs a program on an emulated processor: of 2008, with x86-64-v2 and nothing more."""
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if qemu is None:
        missing = "qemu-x86_64 is not installed (Debian's qemu-user)"
        pytest.fail(missing) if os.environ.get("FASTOPT_REQUIRE_PEERS") else pytest.skip(missing)
    return (qemu, "-cpu", name)


#: Chooses an instruction set without `fastopt/__init__.py`, which imports NumPy: that may not run there.
CHOOSE = """
import sys, types
package = sys.modules["fastopt"] = types.ModuleType("fastopt")
package.__path__ = ["fastopt"]
try:
    import fastopt.backends.cython
except (ImportError, ValueError) as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.ci
@pytest.mark.parametrize("processor", ["core2duo", "Penryn", "qemu64"])
def test_an_older_processor_is_told_what_is_expected(processor):
    printed = run_python(CHOOSE, prefix=old_processor(processor))
    assert printed.startswith(
        "ImportError: this build of fastopt has no kernels that this processor can run; expected x86-64-v2 or more"
    )


@pytest.mark.ci
def test_an_instruction_set_that_does_not_run_here_is_named():
    for forced in ("x86-64-v3", "plain", "X86-64-V2"):
        printed = run_python(CHOOSE, prefix=old_processor(), FASTOPT_ISA=forced)
        expected = "expected one that was built and runs here: x86-64-v2"
        assert printed == f"ValueError: FASTOPT_ISA is {forced!r}; {expected}\n"


def test_the_instruction_set_can_be_forced_and_a_wrong_one_is_named():
    program = """
try:
    from fastopt.backends.cython import ISA
    print(ISA)
except ValueError as error:
    print(error)
"""
    assert run_python(program, FASTOPT_ISA="x86-64-v2") == "x86-64-v2\n"
    printed = run_python(program, FASTOPT_ISA="pentium")
    assert printed.startswith("FASTOPT_ISA is 'pentium'; expected one that was built and runs here: x86-64-v2")


def test_only_numpy_is_needed_to_import_and_step():
    program = """
import sys
for name in ("numba", "llvmlite", "torch", "jax", "ml_dtypes", "cupy", "Cython", "setuptools"):
    sys.modules[name] = None
import numpy as np, fastopt
fastopt.adam(*(np.ones(4, "f4") for _ in range(4)), step=1)
try:
    fastopt.adam(*(np.ones(4, "f4") for _ in range(4)), step=1, backend="numba")
except fastopt.BackendUnavailable as error:
    print(error)
"""
    assert "pip install 'fastopt[numba]'" in run_python(program)


def test_kernels_that_processes_compiled_apart_stay_apart(tmp_path):
    """Each was its process's first, and so named alike; a third process loads both."""
    program = """
import sys, numpy as np, fastopt
for weight_decay in sys.argv[1:]:
    param, grad = np.ones(4, "f4"), np.ones(4, "f4")
    fastopt.sgd(param, grad, lr=0.5, weight_decay=float(weight_decay), backend="numba")
    print(param[0])
"""
    answers = [run_python(program, *decays, FASTOPT_CACHE_DIR=str(tmp_path)) for decays in (["0"], ["1"], ["0", "1"])]
    assert answers == ["0.5\n", "0.0\n", "0.5\n0.0\n"]


HALF_A_STEP = """
import sys, numpy as np, fastopt
from fastopt.backends.numba import object_code
if "alone" in sys.argv:
    object_code.OF_THE_SYSTEM = set()
a, b, state = np.ones(4, "f4"), np.ones(4, "f4"), np.zeros(4, "f4")
fastopt.rmsprop(a, b, state, lr=0.5, decay=0.0, eps=0.0, backend="numba")
print(a[0], "numba" in sys.modules)
"""


def test_machine_code_is_kept_and_loaded_without_numba(tmp_path):
    answers = [run_python(HALF_A_STEP, FASTOPT_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert answers == ["0.5 True\n", "0.5 False\n"]
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    for damaged in (b"damaged", whole[:-1], b"", whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
        kept.write_bytes(damaged)
        assert run_python(HALF_A_STEP, FASTOPT_CACHE_DIR=str(tmp_path)) == "0.5 True\n"
        assert kept.read_bytes() == whole


def test_threads_that_load_one_kernel_at_once(tmp_path):
    """Each may load code of its own, and all of it stays."""
    program = """
import threading
import numpy as np, fastopt

def step():
    barrier.wait()
    for update in (fastopt.sgd, fastopt.lion, fastopt.signum):
        for dtype in ("f4", "f8"):
            arrays = [np.ones(4, dtype) for _ in range(2 if update is fastopt.sgd else 3)]
            for _ in range(3):
                update(*arrays, lr=0.25, backend="numba")
            changed.append(bool(np.all(arrays[0] < 0.5)))

barrier, changed = threading.Barrier(6), []
threads = [threading.Thread(target=step) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(changed.count(True))
"""
    for _ in range(3):
        assert run_python(program, FASTOPT_CACHE_DIR=str(tmp_path)) == "36\n"


def test_machine_code_for_another_processor_is_not_loaded(tmp_path):
    for name in ("x86-64", "x86-64-v3"):
        answer = run_python(HALF_A_STEP, FASTOPT_CACHE_DIR=str(tmp_path), NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="")
        assert answer == "0.5 True\n"
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 2


def test_what_machine_code_depends_on(monkeypatch):
    """What has another of these has another file."""
    from fastopt.backends import numba

    known = [numba._covered("text"), numba._covered("another")]
    for name, value in (("VERSIONS", ("0", "0")), ("processor", lambda: ("z80", "+mmx")), ("COMPILERS", ())):
        with monkeypatch.context() as changed:
            changed.setattr(numba, name, value)
            known.append(numba._covered("text"))
    monkeypatch.setenv("NUMBA_OPT", "0")
    known.append(numba._covered("text"))
    assert len({tuple(covered) for covered in known}) == len(known) == 6


def test_a_cache_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert run_python(HALF_A_STEP, FASTOPT_CACHE_DIR=str(tmp_path / "file")) == "0.5 True\n"


def test_machine_code_that_needs_numba_is_not_kept(tmp_path):
    """No kernel does; to this one, roots are made a stranger."""
    for _ in range(2):
        assert run_python(HALF_A_STEP, "alone", FASTOPT_CACHE_DIR=str(tmp_path / "cache")) == "0.5 True\n"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("value", ["99999999999", " 3 "])
def test_odd_numbers_of_threads_in_the_environment(value):
    program = """
from fastopt.engine.threads.threads import pretend_cpu_limit, get_num_threads
pretend_cpu_limit(5)
print(get_num_threads())
"""
    for name in ("FASTOPT_NUM_THREADS", "OMP_NUM_THREADS"):
        assert int(run_python(program, **{"FASTOPT_NUM_THREADS": "", name: value})) == min(5, int(value))


@pytest.mark.ci
def test_a_build_without_a_compiler_fails(tmp_path):
    """It would otherwise make a wheel with nothing in it."""
    folder = tmp_path / "source"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "build", "results", "*.so", "tests", "docs"))
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-temp", str(tmp_path / "temp")],
        cwd=folder,
        env={**os.environ, "CC": "/nonexistent/cc"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "no working C compiler" in done.stderr
