# cython: language_level=3
"""The instruction sets with kernels that this processor supports."""

cdef extern from "core/cpu.h":
    int x86_level()


def supported_isas() -> list:
    """Return the names of the instruction sets that this processor supports, the widest last."""
    return ["plain"] + [f"x86-64-v{level}" for level in range(2, x86_level() + 1)]
