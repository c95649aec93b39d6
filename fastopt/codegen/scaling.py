"""What the compilers' texts of the kernels of feature scaling have in common."""

from __future__ import annotations

from fastopt.specs.scaling import ScalingKernel

from .parse import Function


def element(kernel: ScalingKernel, function: Function, x: str) -> str:
    """What the function makes of an element, as both compilers write it: values are variables of their own names."""
    return f"{kernel.function}({', '.join([x, *function.scalars])})"
