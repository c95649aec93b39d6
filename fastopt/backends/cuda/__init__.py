"""Kernels for CUDA devices, compiled by Numba's CUDA target on first use."""

from __future__ import annotations

import gc
import inspect
import math
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

from fastopt.backends.disk_cache import kept
from fastopt.codegen.cuda.kernel import NUMBERS, Written
from fastopt.codegen.cuda.norm import THREADS
from fastopt.codegen.cuda.update import Kernel
from fastopt.common.version import VERSION
from fastopt.errors import BackendUnavailable
from fastopt.specs.dtypes import STORAGES

INSTALL = 'pip install "numba-cuda[cu13]"'

try:
    NUMBA_CUDA, LINKER = version("numba-cuda"), version("cuda-bindings")
except PackageNotFoundError as error:
    raise BackendUnavailable(f"backend 'cuda' needs a package that is missing: {INSTALL}") from error

import numba  # noqa: E402
import numpy as np  # noqa: E402
from numba import cuda, types  # noqa: E402

from fastopt.backends.cuda import random as cuda_random  # noqa: E402
from fastopt.backends.cuda import target as cuda_target  # noqa: E402
from fastopt.backends.cuda import vectors as cuda_vectors  # noqa: E402
from fastopt.backends.cuda.target import SIMULATED as SIMULATED  # noqa: E402
from fastopt.backends.cuda.target import inlined as inlined  # noqa: E402
from fastopt.backends.numba import typed  # noqa: E402

#: Compile options: no contraction of a * b + c, IEEE 754 quotients and roots, and subnormal float32 numbers flushed, as
#: in the engine on the host. So a device's result has the same bits.
LINK_OPTIONS = ("-lto", "-fma=0", "-ftz=1", "-prec-div=1", "-prec-sqrt=1")

#: For updates, so that 1,024 threads fit a multiprocessor: for compute capability 10.0, the kernel of a list used up to
#: 70 registers. The limit causes no spills; in norms, it would.
REGISTERS = ("-maxrregcount=64",)

#: The compute capabilities that LTO-IR is compiled for; a later device uses the last one before it. NVVM changes with
#: 10.0; for earlier ones, the PTX for 8.0 and 9.0 from the LTO-IR of 7.5 was identical in all 30 kernels.
DIALECTS = ((7, 5), (10, 0))

#: The inputs of machine code other than the kernel's text
SOURCES = (sys.modules[__name__], cuda_random, cuda_target, cuda_vectors, typed)


#: Kernels that can be compiled, loaded and launched
DeviceKernel: TypeAlias = Kernel | Written

#: The types in memory: numbers of a storage type, or words; a bfloat16 is converted with integer operations.
MEMORY = {**{storage.name: storage.memory for storage in STORAGES}, "word": "uint64"}


def numba_types(kernel: DeviceKernel) -> list[Any]:
    """Return the Numba types of a kernel's arguments."""
    return list(map(_numba_type, kernel.signature))


def _numba_type(name: str) -> Any:
    return types.CPointer(_numba_type(name[:-1])) if name.endswith("*") else getattr(types, MEMORY.get(name, name))


def packing(kernel: DeviceKernel) -> str:
    """Return the layout of its arguments in the format of the `struct` module: words, then numbers."""
    return "=" + "".join({"float32": "f", "float64": "d"}.get(name, "Q") for name in kernel.signature)


@cache
def function(kernel: DeviceKernel) -> Callable[..., None]:
    """Return the kernel as the Python function that Numba compiles or simulates."""
    names = _names(kernel)
    exec(compile(kernel.text(), f"<fastopt {kernel.name} for CUDA>", "exec"), names)
    kernel_function: Callable[..., None] = names["kernel"]
    return kernel_function


def machine_code(kernel: DeviceKernel, compute_capability: tuple[int, int]) -> tuple[bytes, str]:
    """Return a kernel as machine code for one compute capability, and its name in that code.

    The code is read from the cache folder if possible: compiling takes 1 to 3 s, and a norm has up to five kernels.
    """
    return kept("cuda", _covered(kernel, compute_capability), lambda: link(kernel, compute_capability)[0], _named)


def _named(binary: bytes) -> tuple[bytes, str]:
    """Return machine code and the name of its kernel."""
    (name,) = set(re.findall(rb"\0\.text\.(\w+)\0", binary))
    return binary, name.decode()


def _covered(kernel: DeviceKernel, compute_capability: tuple[int, int]) -> list[str]:
    """Return all inputs of the machine code."""
    constants = sorted((name, repr(value)) for name, value in _names(kernel).items() if not callable(value))
    what = (kernel.dtype, kernel.signature, constants, compute_capability, _options(kernel))
    sources = map(inspect.getsource, SOURCES)
    return [kernel.text(), *map(str, what), *sources, VERSION, NUMBA_CUDA, numba.__version__, LINKER]


def ptx(kernel: DeviceKernel, compute_capability: tuple[int, int]) -> str:
    """Return the PTX text of the kernel."""
    text, _ = link(kernel, compute_capability, "-ptx")
    return text.rstrip(b"\0").decode()


def _options(kernel: DeviceKernel) -> tuple[str, ...]:
    return LINK_OPTIONS + (REGISTERS if isinstance(kernel, Kernel) else ())


def link(kernel: DeviceKernel, compute_capability: tuple[int, int], *more: str) -> tuple[bytes, str]:
    """Compile a kernel and link it with the toolkit's nvJitLink; return the result (with "-ptx", text) and the log.

    The input is LTO-IR, to which the linker's options apply: Numba has no option for contraction, and its launches
    contract. From PTX the linker would use 66 registers instead of 55, and a driver may be too old for that PTX.
    """
    from cuda.bindings import nvjitlink

    code = _compiled(kernel, max(each for each in DIALECTS if each <= compute_capability))
    options = [f"-arch=sm_{compute_capability[0]}{compute_capability[1]}", *_options(kernel), *more]
    what = "linked_ptx" if "-ptx" in more else "linked_cubin"
    handle = nvjitlink.create(len(options), options)

    def read(name: str) -> bytes:
        content = bytearray(getattr(nvjitlink, f"get_{name}_size")(handle))
        if content:
            getattr(nvjitlink, f"get_{name}")(handle, content)
        return bytes(content)

    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.LTOIR, code, len(code), "kernel")
        nvjitlink.complete(handle)
        return read(what), read("info_log").decode(errors="replace")
    finally:
        nvjitlink.destroy(handle)


@cache
def _compiled(kernel: DeviceKernel, compute_capability: tuple[int, int]) -> bytes:
    signature = types.void(*numba_types(kernel))
    options = {"device": False, "abi": "numba", "cc": compute_capability, "output": "ltoir"}
    code = bytes(cuda.compile(function(kernel), signature, **options)[0])
    # Numba leaves frames in cycles, and a frame refers to its callers. Without a collection, the scratch memory of the
    # call that compiles would be freed long after the call.
    gc.collect()
    return code


# ---- Functions for the text of kernels


def _names(kernel: DeviceKernel) -> dict[str, Any]:
    numbers = {**NUMBERS, **kernel.numbers}.items()
    return {
        **_functions(kernel.dtype), "threads": THREADS,
        **{name: np.uint64(number) if isinstance(number, int) else np.float64(number) for name, number in numbers},
    }  # fmt: skip


@cache
def _functions(dtype: str) -> dict[str, Any]:
    """Return the functions and constants common to all kernels of a compute type."""
    real = getattr(np, dtype)
    return {
        "cuda": cuda, "inlined": inlined, "index": np.uint64, "real": real, "real64": np.float64,
        "zero": real(0), "one": real(1), "unknown": real(math.nan), "min": min, "max": max,
        "exp": math.exp, "log": math.log, "log1p": math.log1p, "sqrt64": np.sqrt if SIMULATED else math.sqrt,
        "load_four": cuda_vectors.load_four, "store_four": cuda_vectors.store_four,
        "draw": cuda_random.draw, "draw_one": cuda_random.draw_one,
        **_primitives(dtype), **_codecs(dtype), **cuda_random.primitives(dtype),
    }  # fmt: skip


def _primitives(dtype: str) -> dict[str, Any]:
    """Return the functions of fastopt/primitives.py in one type."""
    # On the device, math.sqrt and math.fabs of a float32 return float32; in Python they do not.
    functions = {"sqrt": np.sqrt, "fabs": np.fabs} if SIMULATED else {"sqrt": math.sqrt, "fabs": math.fabs}
    return functions | {name: inlined(each) for name, each in typed.typed_primitives(dtype).items()}


def _codecs(dtype: str) -> dict[str, Any]:
    """Return conversions from storage types to the compute type and back, rounded once, to nearest even."""
    real, uint16, uint32 = getattr(np, dtype), np.uint16, np.uint32
    float32_of, bits_of = (
        cuda_target.reinterpretation(*each) for each in (("uint32", "float32"), ("float32", "uint32"))
    )
    sixteen, one, half = uint32(16), uint32(1), uint32(0x7FFF)
    magnitude, infinite, quiet = uint32(0x7FFFFFFF), uint32(0x7F800000), uint32(0x00400000)

    def load(x: Any) -> Any:
        return real(x)

    def load_bfloat16(bits: Any) -> Any:
        return real(float32_of(uint32(uint32(bits) << sixteen)))

    def narrow(x: Any) -> Any:
        return x

    def narrow_to_odd(x: Any) -> Any:
        """Round a float64 to the odd neighbour in float32, so that a second rounding gives the correct result."""
        rounded = np.float32(x)
        if np.float64(rounded) == x or x != x:
            return rounded
        bits = bits_of(rounded)
        if abs(np.float64(rounded)) > abs(x):
            bits = uint32(bits - one)
        return float32_of(uint32(bits | one))

    to_float32 = inlined(narrow if real is np.float32 else narrow_to_odd)

    def store_bfloat16(x: Any) -> Any:
        bits = bits_of(to_float32(x))
        if bits & magnitude > infinite:
            return uint16(uint32(bits | quiet) >> sixteen)
        return uint16(uint32(bits + half + (uint32(bits >> sixteen) & one)) >> sixteen)

    def store_float16(x: Any) -> Any:
        return np.float16(to_float32(x))

    def store_float32(x: Any) -> Any:
        return np.float32(x)

    return {
        "load_bfloat16": inlined(load_bfloat16), "store_bfloat16": inlined(store_bfloat16),
        "load_float16": inlined(load), "store_float16": inlined(store_float16),
        "load_float32": inlined(load), "store_float32": inlined(store_float32),
    }  # fmt: skip
