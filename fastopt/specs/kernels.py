"""The kernels that are compiled ahead of time: their families, and the types of arrays that each has kernels for."""

from __future__ import annotations

from .dtypes import COMPUTE_TYPES, STORAGES

#: For each file of `fastopt.rules`, the types that its kernels read and write. The build makes one C file of each pair,
#: and compiles it once for each instruction set.
KERNEL_TYPES = {
    "update": COMPUTE_TYPES,
    "norm": tuple(storage.name for storage in STORAGES if storage.in_norm_kernels),
    "scaling": COMPUTE_TYPES,
    "random": COMPUTE_TYPES,
}
