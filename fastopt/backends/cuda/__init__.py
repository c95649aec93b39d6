"""Kernels for CUDA devices, which Numba's CUDA target compiles when they are asked for."""

from __future__ import annotations

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

#: How kernels are linked: no contraction of a * b + c, quotients and roots rounded as IEEE 754 says, and subnormal
#: float32 numbers flushed, as the engine has it on the host. So a device's result has the same bits.
LINK_OPTIONS = ("-lto", "-fma=0", "-ftz=1", "-prec-div=1", "-prec-sqrt=1")

#: Of updates, so that 1,024 threads fit a multiprocessor: for compute capability 10.0 a list's took up to 70 registers.
#: It costs no spill; of norms, it would.
REGISTERS = ("-maxrregcount=64",)

#: The generations that LTO-IR is compiled for; a later one gets the last of these before it. NVVM is another from 10.0
#: on; before, PTX that was linked for 8.0 and 9.0 from the LTO-IR of 7.5 was the same in all of 30 kernels.
DIALECTS = ((7, 5), (10, 0))

#: What machine code depends on beside the text of its kernel.
SOURCES = (sys.modules[__name__], cuda_random, cuda_target, cuda_vectors, typed)


#: What can be compiled, loaded and launched.
DeviceKernel: TypeAlias = Kernel | Written

#: What memory holds: numbers of a storage type, or words; the bits of a bfloat16 are taken apart in integers.
MEMORY = {**{storage.name: storage.memory for storage in STORAGES}, "word": "uint64"}


def numba_types(kernel: DeviceKernel) -> list[Any]:
    """Return the Numba types of a kernel's arguments."""
    return list(map(_numba_type, kernel.signature))


def _numba_type(name: str) -> Any:
    return types.CPointer(_numba_type(name[:-1])) if name.endswith("*") else getattr(types, MEMORY.get(name, name))


def packing(kernel: DeviceKernel) -> str:
    """Return how its arguments stand one behind the other, as the `struct` module has it: words, then numbers."""
    return "=" + "".join({"float32": "f", "float64": "d"}.get(name, "Q") for name in kernel.signature)


@cache
def function(kernel: DeviceKernel) -> Callable[..., None]:
    """Return the kernel as the Python function that Numba compiles, or simulates."""
    names = _names(kernel)
    exec(compile(kernel.text(), f"<fastopt {kernel.name} for CUDA>", "exec"), names)
    kernel_function: Callable[..., None] = names["kernel"]
    return kernel_function


def machine_code(kernel: DeviceKernel, compute_capability: tuple[int, int]) -> tuple[bytes, str]:
    """Return a kernel as machine code for one generation of devices, and its name there.

    It comes from the cache folder, if it was compiled before: that takes 1 to 3 s, and a norm has up to five kernels.
    """
    return kept("cuda", _covered(kernel, compute_capability), lambda: link(kernel, compute_capability)[0], _named)


def _named(binary: bytes) -> tuple[bytes, str]:
    """Return machine code with the name of its one kernel."""
    (name,) = set(re.findall(rb"\0\.text\.(\w+)\0", binary))
    return binary, name.decode()


def _covered(kernel: DeviceKernel, compute_capability: tuple[int, int]) -> list[str]:
    """All that machine code depends on."""
    constants = sorted((name, repr(value)) for name, value in _names(kernel).items() if not callable(value))
    what = (kernel.dtype, kernel.signature, constants, compute_capability, _options(kernel))
    sources = map(inspect.getsource, SOURCES)
    return [kernel.text(), *map(str, what), *sources, VERSION, NUMBA_CUDA, numba.__version__, LINKER]


def ptx(kernel: DeviceKernel, compute_capability: tuple[int, int]) -> str:
    """Return the same as text: what becomes machine code."""
    text, _ = link(kernel, compute_capability, "-ptx")
    return text.rstrip(b"\0").decode()


def _options(kernel: DeviceKernel) -> tuple[str, ...]:
    return LINK_OPTIONS + (REGISTERS if isinstance(kernel, Kernel) else ())


def link(kernel: DeviceKernel, compute_capability: tuple[int, int], *more: str) -> tuple[bytes, str]:
    """Compile a kernel and link it by the toolkit's nvJitLink; return the result (with "-ptx", text), and the log.

    From LTO-IR, for which the linker's options decide: Numba has none for contraction, and its own launches contract.
    From PTX the linker would take more registers (66, not 55), and a driver might be older than the toolkit's PTX.
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
    return bytes(cuda.compile(function(kernel), signature, **options)[0])


# ---- What the text of a kernel may refer to


def _names(kernel: DeviceKernel) -> dict[str, Any]:
    numbers = {**NUMBERS, **kernel.numbers}.items()
    return {
        **_functions(kernel.dtype), "threads": THREADS,
        **{name: np.uint64(number) if isinstance(number, int) else np.float64(number) for name, number in numbers},
    }  # fmt: skip


@cache
def _functions(dtype: str) -> dict[str, Any]:
    """All that is the same in every kernel of a compute type, and numbers of that type."""
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
    """The functions of fastopt/primitives.py, in one type throughout."""
    # On the device, math.sqrt and math.fabs of a float32 are float32; in Python they would not be.
    functions = {"sqrt": np.sqrt, "fabs": np.fabs} if SIMULATED else {"sqrt": math.sqrt, "fabs": math.fabs}
    return functions | {name: inlined(each) for name, each in typed.typed_primitives(dtype).items()}


def _codecs(dtype: str) -> dict[str, Any]:
    """From what arrays store to the compute type, and back with one rounding, to nearest and to even."""
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
        """Round a float64 to the odd of its two neighbours in float32: a second rounding then goes the right way."""
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
