"""Helpers of several test files: layouts, comparisons of bits, programs in separate processes."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastopt.engine.threads.threads import pretend_cpu_limit

ROOT = Path(__file__).parent.parent

Arrays = dict[str, Any]


def copies(arrays: Arrays) -> Arrays:
    """Copies in the memory order of each array: NumPy's default would put all into C order."""
    return {name: array.copy(order="K") for name, array in arrays.items()}


def bits(array: np.ndarray) -> np.ndarray:
    """The array's elements as unsigned integers, so that 0 and -0 differ and a NaN equals itself."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def assert_same_bits(got: Arrays, wanted: Arrays, what: str = "") -> None:
    for name in wanted:
        unequal = np.flatnonzero(bits(got[name]) != bits(wanted[name]))
        assert not unequal.size, f"{what}: {name} differs in {unequal.size} elements, first at {unequal[0]}"


@contextmanager
def cpus(count: int) -> Iterator[None]:
    """Let the engine start as many threads as asked, whatever this machine has."""
    pretend_cpu_limit(count)
    try:
        yield
    finally:
        pretend_cpu_limit(0)


def run_python(program: str, *arguments: str, prefix: tuple[str, ...] = (), **environment: str) -> str:
    """Run a program in a fresh interpreter from the repository's root; return what it printed."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class _Mallinfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]


def _allocated() -> int:
    """Bytes that the main thread's malloc has given and not got back."""
    gc.collect()
    libc.mallinfo2.restype = _Mallinfo
    info: Any = libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def lost_by(call: Callable[[], object], calls: int = 300) -> int:
    """How many blocks of memory a call never frees: 0, or at least 1. What is allocated once does not count."""
    for _ in range(50):
        call()
    before = _allocated()
    for _ in range(calls):
        call()
    least = 24  # bytes, that malloc takes from its memory
    return max(0, round((_allocated() - before) / (least * calls)))


def write_files_of(page: str, folder: Path) -> dict[str, str]:
    """Write the blocks of a page of docs/ that name a file in their first line; return all others by language."""
    others = {}
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.M | re.S):
        named = re.match(r"(?:#|/\*) (\w+\.\w+)", text)
        if named:
            (folder / named[1]).write_text(text)
        else:
            others[language] = text
    return others


def run_with_stand_in(program: str, folder: Path) -> str:
    """Run a program beside a stand-in for the CUDA driver, which is compiled into a folder."""
    source = ROOT / "tests" / "cuda" / "stand_in.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", str(folder / "libcuda.so.1"), str(source)], check=True)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))
    return run_python(program, LD_LIBRARY_PATH=path, NUMBA_ENABLE_CUDASIM="0")


def parts_told(program: str, folder: Path, *without: str) -> list[list[str]]:
    """What the stand-in says of a program's parts, a line of ``--`` apart, without lines that begin so."""
    parts = run_with_stand_in(program, folder).split("\n--\n")
    return [[line for line in part.split("\n") if line and line.split()[0] not in without] for part in parts]


def users_kernel(device_function: Any, arrays: tuple[str, ...]) -> Any:
    """A CUDA kernel as a user writes it: a grid-stride loop that calls a device function of `fastopt.numba.cuda`."""
    from numba import cuda

    elements, written = ([f"{name}[i]" for name in names] for names in (arrays, [x for x in arrays if x != "grad"]))
    text = (
        f"def kernel({', '.join(arrays)}, scalars):\n"
        f"    for i in range(cuda.grid(1), {arrays[0]}.size, cuda.gridsize(1)):\n"
        f"        {', '.join(written)} = update({', '.join(elements)}, scalars)\n"
    )
    names = {"cuda": cuda, "update": device_function}
    exec(text, names)
    return cuda.jit(names["kernel"])


# ---- Layouts: each takes values and returns an array with them, of its own strides


def c_order(values: np.ndarray) -> np.ndarray:
    return values.copy(order="C")


def f_order(values: np.ndarray) -> np.ndarray:
    return values.copy(order="F")


def sliced(values: np.ndarray) -> np.ndarray:
    return _filled(
        np.zeros([2 * n + 1 for n in values.shape], values.dtype)[(..., *(slice(None, -1, 2),) * values.ndim)], values
    )


def part_of_a_larger_array(values: np.ndarray) -> np.ndarray:
    """Rows whose elements stand side by side, and rows that do not: as ``big[:, 2:10]``."""
    return _filled(np.zeros([n + 3 for n in values.shape], values.dtype)[(..., *(slice(2, -1),) * values.ndim)], values)


def part_of_a_larger_array_in_f_order(values: np.ndarray) -> np.ndarray:
    return part_of_a_larger_array(values.T).T


def reversed_axes(values: np.ndarray) -> np.ndarray:
    return _filled(np.zeros_like(values, order="C")[(..., *(slice(None, None, -1),) * values.ndim)], values)


def axes_rolled(values: np.ndarray) -> np.ndarray:
    axes = (*range(1, values.ndim), 0) if values.ndim else ()
    return _filled(np.zeros_like(values.transpose(axes), order="C").transpose(np.argsort(axes)), values)


def column_of_records(values: np.ndarray) -> np.ndarray:
    """The elements 12 bytes apart (for float32): as one field of a packed record stands."""
    records = np.zeros((*values.shape, 3), values.dtype)
    return _filled(records[..., 1], values)


def odd_strides_of_single_axes(values: np.ndarray) -> np.ndarray:
    """Axes of one element, whose stride means nothing, with a stride of 7 elements."""
    array = values.copy(order="C")
    strides = [7 * array.itemsize if n == 1 else s for n, s in zip(array.shape, array.strides, strict=True)]
    return np.lib.stride_tricks.as_strided(array, strides=strides)


LAYOUTS: list[Callable[[np.ndarray], np.ndarray]] = [
    c_order,
    f_order,
    sliced,
    part_of_a_larger_array,
    part_of_a_larger_array_in_f_order,
    reversed_axes,
    axes_rolled,
    column_of_records,
    odd_strides_of_single_axes,
]


def _filled(view: np.ndarray, values: np.ndarray) -> np.ndarray:
    view[...] = values
    return view


def succeeds_in_a_child(call: Callable[[], object]) -> bool:
    """Whether a call raises nothing in a child of fork()."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's and JAX's, of threads and forks
        child = os.fork()
    if child == 0:
        code = 1
        try:
            call()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0
