"""Storage types: how arrays may store their numbers, and what each interface calls that."""

from __future__ import annotations

from typing import NamedTuple


class Storage(NamedTuple):
    """A storage type."""

    #: What NumPy (or ml_dtypes), PyTorch and this package call it.
    name: str
    #: The bytes of a number.
    size: int
    #: The bits of the significand, with the leading one.
    digits: int
    #: The exponents of the smallest normal number, and of the largest one.
    lowest_exponent: int
    highest_exponent: int
    #: DLPack's code; the bits follow from the size.
    dlpack_code: int
    #: What a safetensors file calls it.
    safetensors: str
    #: The type that kernels compute in if every array of a call is stored like this.
    compute: str
    #: The type of NumPy and Numba that memory is read as, if they have no such float: then it holds the number's bits.
    bits: str | None = None
    #: True if subnormal numbers count as zero: float16 alone keeps them, since its codec computes in float32.
    flushes_subnormals: bool = True
    #: True if the cython backend has kernels of norms that read and write it without a codec. Not float16: to carry
    #: one back and forth takes more than a dozen operations, and is faster in a loop by itself (batch norm forward,
    #: NCHW 32x64x56x56: 2.7 ms, not 2.3).
    in_norm_kernels: bool = False

    @property
    def enumerator(self) -> str:
        """The name in C."""
        return self.name.upper()

    @property
    def memory(self) -> str:
        """The type of NumPy and Numba that memory is read as."""
        return self.bits or self.name

    @property
    def typestr(self) -> str | None:
        """What ``__array_interface__`` and ``__cuda_array_interface__`` call it; None: they have no name for it."""
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


#: In the order of ``enum storage`` in C, which the build writes. A storage's position is part of the C interface
#: (`fastopt_storage`): a new one is the last.
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

#: The same by name.
STORAGE = {storage.name: storage for storage in STORAGES}

#: The types that kernels compute in: those of float32 and float64 arrays. In the order of C's index ``is_float64``.
COMPUTE_TYPES = tuple(storage.name for storage in STORAGES if storage.compute == storage.name)

#: The bytes of a number of each.
SIZES = {storage.name: storage.size for storage in STORAGES}

#: How messages and tables list them: the smallest first.
NAMES = tuple(storage.name for storage in sorted(STORAGES, key=lambda storage: storage.size))

#: The same as text.
FLOATS = f"{', '.join(NAMES[:-1])} or {NAMES[-1]}"

#: A type that moves numbers of each size, whatever they mean.
MOVED = {storage.size: storage.name for storage in STORAGES if storage.bits is None}
