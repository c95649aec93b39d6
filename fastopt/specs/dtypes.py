"""Storage types: the dtypes of arrays, and their names in each interface."""

from __future__ import annotations

from typing import NamedTuple


class Storage(NamedTuple):
    """A storage type."""

    #: Its name in NumPy (or ml_dtypes), PyTorch and this package.
    name: str
    #: Bytes per number.
    size: int
    #: Bits of the significand, with the leading one.
    digits: int
    #: Exponents of the smallest normal number, and of the largest number.
    lowest_exponent: int
    highest_exponent: int
    #: DLPack's code; the number of bits follows from the size.
    dlpack_code: int
    #: Its name in a safetensors file.
    safetensors: str
    #: The compute type if every array of a call has this storage type.
    compute: str
    #: The type as which NumPy and Numba read memory if they have no such float: it holds the number's bits.
    bits: str | None = None
    #: True if subnormal numbers count as zero. Only float16 preserves them, because its codec computes in float32.
    flushes_subnormals: bool = True
    #: True if the cython backend's norm kernels read and write it without a codec. Not float16: a conversion there and
    #: back takes more than a dozen operations, and is faster in a separate loop (batch norm forward, NCHW 32x64x56x56:
    #: 2.3 ms, in the kernel 2.7 ms).
    in_norm_kernels: bool = False

    @property
    def enumerator(self) -> str:
        """Its name in C."""
        return self.name.upper()

    @property
    def memory(self) -> str:
        """The type as which NumPy and Numba read memory."""
        return self.bits or self.name

    @property
    def typestr(self) -> str | None:
        """Its name in ``__array_interface__`` and ``__cuda_array_interface__``, or None if they have none."""
        return None if self.bits else f"<f{self.size}"

    @property
    def step(self) -> float:
        """The smallest distance of two numbers."""
        return 2.0 ** (self.lowest_exponent - self.digits + 1)

    @property
    def least(self) -> float:
        """The smallest number above zero that is not flushed to zero."""
        return 2.0**self.lowest_exponent if self.flushes_subnormals else self.step

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return (2.0 - 2.0 ** (1 - self.digits)) * 2.0**self.highest_exponent


#: In the order of ``enum storage`` in C, which the build writes. The position of a storage type is part of the C
#: interface (`fastopt_storage`): add new ones at the end.
STORAGES = (
    Storage("float32", 4, 24, -126, 127, dlpack_code=2, safetensors="F32", compute="float32", in_norm_kernels=True),
    Storage("float64", 8, 53, -1022, 1023, dlpack_code=2, safetensors="F64", compute="float64", in_norm_kernels=True),
    Storage(
        "float16", 2, 11, -14, 15, dlpack_code=2, safetensors="F16", compute="float32", flushes_subnormals=False
    ),
    Storage(
        "bfloat16", 2, 8, -126, 127, dlpack_code=4, safetensors="BF16", compute="float32", bits="uint16",
        in_norm_kernels=True,
    ),
)  # fmt: skip

#: The storage types by name.
STORAGE = {storage.name: storage for storage in STORAGES}

#: The types that kernels compute in, those of float32 and float64 arrays, in the order of C's index ``is_float64``.
COMPUTE_TYPES = tuple(storage.name for storage in STORAGES if storage.compute == storage.name)

#: Bytes per number of each.
SIZES = {storage.name: storage.size for storage in STORAGES}

#: Their order in messages and tables: the smallest first.
NAMES = tuple(storage.name for storage in sorted(STORAGES, key=lambda storage: storage.size))

#: The same as text.
FLOATS = f"{', '.join(NAMES[:-1])} or {NAMES[-1]}"

#: For each size, a type that can copy numbers of that size.
MOVED = {storage.size: storage.name for storage in STORAGES if storage.bits is None}
