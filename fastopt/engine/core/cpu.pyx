# cython: language_level=3
"""Which of the instruction sets that kernels are built for this processor has."""

cdef extern from "core/cpu.h":
    int x86_level()


def supported_isas() -> list:
    """Return the names of the instruction sets that run here, the widest last."""
    return ["plain"] + [f"x86-64-v{level}" for level in range(2, x86_level() + 1)]
