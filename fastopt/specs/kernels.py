"""The kernels that are compiled at build time: their families, and the types of arrays of each."""

from __future__ import annotations

from .dtypes import COMPUTE_TYPES, STORAGES

#: For each file of `fastopt.rules`, the types that its kernels read and write. The build makes one C file for each
#: pair, and compiles it once for each instruction set.
KERNEL_TYPES = {
    "update": COMPUTE_TYPES,
    "norm": tuple(storage.name for storage in STORAGES if storage.in_norm_kernels),
    "scaling": COMPUTE_TYPES,
    "random": COMPUTE_TYPES,
}
