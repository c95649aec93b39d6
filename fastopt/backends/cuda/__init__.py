"""Kernels for CUDA devices, which Numba's CUDA target compiles when they are asked for."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, Protocol

from fastopt.backends.disk_cache import kept
from fastopt.codegen.cuda.norm import NAMES, THREADS
from fastopt.codegen.cuda.norm_elements import Elements
from fastopt.codegen.cuda.norm_statistics import NAMES64, Fixed, Gradients, Moments, Totals
from fastopt.codegen.cuda.norm_sums import Sums
from fastopt.codegen.cuda.random import NAMES as RANDOM_NAMES
from fastopt.codegen.cuda.random import Random
from fastopt.codegen.cuda.scaling import NAMES as COLUMN_NAMES
from fastopt.codegen.cuda.scaling import ColumnStats, First, Join, NonfiniteProbe, Scale
from fastopt.codegen.cuda.update import CHUNK, LINEAR, LIST, WORDS, cuda_module, scalars_module, unroll, words_module
from fastopt.codegen.parse import SHARED_SCALARS, VARIANTS, source_of
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
from fastopt.backends.numba import reinterpretation, typed_random  # noqa: E402

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
SOURCES = (sys.modules[__name__], cuda_random, cuda_target, cuda_vectors, reinterpretation, typed_random)


class DeviceKernel(Protocol):
    """What can be compiled, loaded and launched: it says which kernel it is, and is hashable."""

    @property
    def dtype(self) -> str:
        """The compute type."""

    @property
    def scalars(self) -> int:
        """How many numbers it takes."""

    @property
    def scalar_type(self) -> str:
        """What those are."""

    @property
    def signature(self) -> list[Any]:
        """The Numba types of its arguments: pointers, words, numbers."""

    @property
    def name(self) -> str:
        """What it is, for whoever reads a traceback."""

    def text(self) -> str:
        """Return the Python module that has it."""

    def names(self) -> dict[str, Any]:
        """Return what the text refers to, beside primitives and codecs."""

    def __hash__(self) -> int: ...


class Kernel(NamedTuple):
    """Which kernel: of which rule, in which variant, over what, where elements are (`fastopt.codegen.cuda.update`)."""

    rule: Callable[..., Any]
    variant: int
    storages: tuple[str, ...]
    dtype: str
    axes: int
    #: Coefficients are on the device: one pointer to them all.
    from_memory: bool = False

    @property
    def scalars(self) -> int:
        """How many coefficients it takes."""
        if self.from_memory:
            return 0
        names = inspect.signature(self.rule).parameters.values()
        own = [each.name for each in names if each.kind is not each.POSITIONAL_ONLY]
        return len({*SHARED_SCALARS, *own})

    @property
    def signature(self) -> list[Any]:
        """The Numba types of its arguments: pointers, sizes, scalars."""
        pointers = [types.CPointer(_STORED[storage]) for storage in self.storages]
        words = [types.uint64]
        if self.axes == LIST:
            pointers = [types.CPointer(pointer) for pointer in pointers]
            words = [types.CPointer(types.uint64)] * 2 + words * 2
        elif self.axes != LINEAR:
            words += [types.uint64] * (self.axes - 1 + len(pointers) * (self.axes + 1))
        real = getattr(types, self.dtype)
        return [*pointers, *words, *([types.CPointer(real)] if self.from_memory else [real] * self.scalars)]

    @property
    def scalar_type(self) -> str:
        """What the coefficients are: of the compute type."""
        return self.dtype

    @property
    def name(self) -> str:
        """What it is, for whoever reads a traceback."""
        return self.rule.__name__

    def text(self) -> str:
        """The Python module that has it."""
        source = source_of(self.rule)
        return cuda_module(
            source, self.rule.__name__, VARIANTS[self.variant], self.storages, self.dtype, self.axes, self.from_memory
        )

    def names(self) -> dict[str, Any]:
        """What the text refers to, beside primitives and codecs."""
        unrolled = np.uint64(unroll(len(self.storages)))
        return {"unroll": unrolled, "chunk": np.uint64(CHUNK), "none": np.uint64(0), "single": np.uint64(1)}


class ScalarsKernel(NamedTuple):
    """The kernel that computes an update's scalars from numbers on the device (`fastopt.device.coefficients`)."""

    #: Of each scalar: an expression, or None where the host knows it.
    texts: tuple[str | None, ...]
    #: The names of the numbers, and what they are stored as.
    numbers: tuple[tuple[str, str], ...]
    constants: int
    dtype: str

    @property
    def scalars(self) -> int:
        """How many values and constants it takes."""
        return self.texts.count(None) + self.constants

    @property
    def scalar_type(self) -> str:
        """What those are."""
        return "float64"

    @property
    def signature(self) -> list[Any]:
        """The Numba types of its arguments: the numbers, where scalars go, values and constants."""
        pointers = [types.CPointer(getattr(types, storage)) for _, storage in (*self.numbers, ("", self.dtype))]
        return [*pointers, *[types.float64] * self.scalars]

    @property
    def name(self) -> str:
        """What it is, for whoever reads a traceback."""
        return "scalars"

    def text(self) -> str:
        """The Python module that has it."""
        return scalars_module([name for name, _ in self.numbers], self.texts, self.constants)

    def names(self) -> dict[str, Any]:
        """What the text refers to."""
        functions = {name: getattr(math, name) for name in ("exp", "log", "log1p", "sqrt")}
        return {**functions, "max": max, "real": getattr(np, self.dtype), "real64": np.float64, "first": np.uint64(0)}


class WordsKernel(NamedTuple):
    """The kernel that writes its arguments into memory: what a launch brings along is copied with it."""

    words: int = WORDS

    @property
    def dtype(self) -> str:
        """Nothing is computed."""
        return "float32"

    @property
    def scalars(self) -> int:
        """It takes no numbers."""
        return 0

    @property
    def scalar_type(self) -> str:
        """What those would be."""
        return "float32"

    @property
    def signature(self) -> list[Any]:
        """The Numba types of its arguments: where they go, and they."""
        return [types.CPointer(types.uint64), *[types.uint64] * self.words]

    @property
    def name(self) -> str:
        """What it is, for whoever reads a traceback."""
        return "words"

    def text(self) -> str:
        """The Python module that has it."""
        return words_module(self.words)

    def names(self) -> dict[str, Any]:
        """What the text refers to."""
        return {}


class WrittenKernel(NamedTuple):
    """Which kernel of a norm or of feature scaling: what writes its text knows all about it.

    See `fastopt.codegen.cuda.norm` and `fastopt.codegen.cuda.scaling`.
    """

    writer: Sums | Elements | Moments | Gradients | Fixed | Totals | Scale | NonfiniteProbe | First | ColumnStats | Join

    @property
    def dtype(self) -> str:
        """The compute type."""
        return self.writer.dtype

    @property
    def scalars(self) -> int:
        """How many numbers it takes."""
        return len(self.writer.scalars)

    @property
    def scalar_type(self) -> str:
        """What those are."""
        return "float64"

    @property
    def signature(self) -> list[Any]:
        """The Numba types of its arguments: pointers, sizes, numbers."""
        pointers = [types.CPointer(_STORED[storage]) for _, storage in self.writer.pointers]
        return [*pointers, *[types.uint64] * len(self.writer.words), *[types.float64] * self.scalars]

    @property
    def name(self) -> str:
        """What it is, for whoever reads a traceback."""
        return getattr(self.writer, "function", type(self.writer).__name__.lower())

    def text(self) -> str:
        """The Python module that has it."""
        return self.writer.text(inspect.getsource(import_module(f"fastopt.rules.{self.writer.rules}")))

    def names(self) -> dict[str, Any]:
        """What the text refers to, beside primitives and codecs."""
        real = getattr(np, self.dtype)
        names = {name: np.uint64(number) for name, number in {**NAMES, **COLUMN_NAMES}.items()}
        names.update({name: np.float64(number) for name, number in NAMES64.items()}, infinite64=np.float64(math.inf))
        names.update(real=real, one=real(1), unknown=real(math.nan))
        names.update(real64=np.float64, zero64=np.float64(0), one64=np.float64(1))
        unrolled = np.uint64(getattr(self.writer, "unroll", 1))
        return {**names, "sqrt64": np.sqrt if SIMULATED else math.sqrt, "threads": THREADS, "unrolled": unrolled}


class RandomKernel(NamedTuple):
    """Which kernel of random bits: what writes its text knows all about it (`fastopt.codegen.cuda.random`)."""

    writer: Random

    @property
    def dtype(self) -> str:
        """The compute type."""
        return self.writer.dtype

    @property
    def scalars(self) -> int:
        """How many coefficients it takes."""
        return len(self.writer.rule.scalars)

    @property
    def scalar_type(self) -> str:
        """What those are: of the compute type."""
        return self.dtype

    @property
    def signature(self) -> list[Any]:
        """The Numba types of its arguments: pointers, sizes and counters, scalars."""
        pointers = [types.CPointer(_STORED[storage]) for storage in self.writer.storages]
        scalars = [getattr(types, self.dtype)] * self.scalars
        return [*pointers, *[types.uint64] * len(self.writer.words), *scalars]

    @property
    def name(self) -> str:
        """What it is, for whoever reads a traceback."""
        return self.writer.rule.name

    def text(self) -> str:
        """The Python module that has it."""
        return self.writer.text()

    def names(self) -> dict[str, Any]:
        """What the text refers to, beside codecs."""
        names: dict[str, Any] = {name: np.uint64(number) for name, number in RANDOM_NAMES.items()}
        names.update(load_four=cuda_vectors.load_four, store_four=cuda_vectors.store_four)
        if self.writer.bits:
            names.update(cuda_random.primitives(self.dtype), draw=cuda_random.draw, draw_one=cuda_random.draw_one)
        return names


#: What a pointer to an array points to; the bits of a bfloat16 are taken apart in integers.
_STORED = {**{storage.name: getattr(types, storage.memory) for storage in STORAGES}, "word": types.uint64}


def packing(kernel: DeviceKernel) -> str:
    """Return how its arguments stand one behind the other, as the `struct` module has it: words, then numbers."""
    number = "f" if kernel.scalar_type == "float32" else "d"
    return f"={len(kernel.signature) - kernel.scalars}Q{kernel.scalars}{number}"


@cache
def function(kernel: DeviceKernel) -> Callable[..., None]:
    """Return the kernel as the Python function that Numba compiles, or simulates."""
    names = {**_primitives(kernel.dtype), **_codecs(kernel.dtype)}
    names.update(cuda=cuda, inlined=inlined, index=np.uint64, min=min)
    names.update(kernel.names())
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
    constants = sorted((name, repr(value)) for name, value in kernel.names().items() if not callable(value))
    return [
        kernel.text(), kernel.dtype, str(kernel.signature), str(constants), str(compute_capability),
        str(_options(kernel)), *map(inspect.getsource, SOURCES),
        VERSION, NUMBA_CUDA, numba.__version__, LINKER,
    ]  # fmt: skip


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
    signature = types.void(*kernel.signature)
    code, _ = cuda.compile(
        function(kernel), signature, device=False, abi="numba", cc=compute_capability, output="ltoir"
    )
    return bytes(code)


# ---- What the text of a kernel may call


def _primitives(dtype: str) -> dict[str, Any]:
    """The functions of fastopt/primitives.py, in one type throughout."""
    real = getattr(np, dtype)
    zero, one, minus_one = real(0), real(1), real(-1)

    def sign(x: Any) -> Any:
        return one if x > zero else (minus_one if x < zero else x)

    def relu(x: Any) -> Any:
        return zero if x <= zero else x

    def gate(dy: Any, y: Any) -> Any:
        return zero if y <= zero else dy

    # On the device, math.sqrt and math.fabs of a float32 are float32; in Python they would not be.
    functions = {"sqrt": np.sqrt, "fabs": np.fabs} if SIMULATED else {"sqrt": math.sqrt, "fabs": math.fabs}
    return {"sign": inlined(sign), "relu": inlined(relu), "gate": inlined(gate), "zero": zero, **functions}


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
