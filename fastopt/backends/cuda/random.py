"""Random bits and conversions for the kernels of random rules on CUDA devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.backends.cuda.target import SIMULATED, inlined, reinterpretation
from fastopt.backends.numba.typed import random_primitives


def primitives(dtype: str) -> dict[str, Any]:
    """Return the functions of fastopt/rules/random_primitives.py."""
    return random_primitives(dtype, inlined, reinterpretation)


# ---- Random bits, as in fastopt/engine/core/philox.h and draw.c


def _product() -> Callable[..., Any]:
    """Return a function that multiplies two 32-bit words to one 64-bit word with a single instruction.

    With 64-bit products, the kernel for uniform numbers has 184 instructions; with these, 160.
    """
    if SIMULATED:
        return lambda a, b: np.uint64(a) * np.uint64(b)
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic

    def product(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            word = ir.IntType(32)
            wide = ir.FunctionType(ir.IntType(64), [word, word])
            return builder.asm(wide, "mul.wide.u32 $0, $1, $2;", "=l,r,r", values, side_effect=False)

        return types.uint64(types.uint32, types.uint32), generate

    return intrinsic(product)  # type: ignore[no-any-return]


def _philox() -> Callable[..., Any]:
    uint32, high, product = np.uint32, np.uint64(32), _product()
    factor0, factor1 = uint32(0xD2511F53), uint32(0xCD9E8D57)
    step0, step1 = uint32(0x9E3779B9), uint32(0xBB67AE85)

    def philox(x0: Any, x1: Any, x2: Any, x3: Any, key0: Any, key1: Any) -> Any:
        """Philox 4x32-10 with 32-bit words and 64-bit products."""
        for _ in range(10):
            a, b = product(x0, factor0), product(x2, factor1)
            x0, x2 = uint32(uint32(b >> high) ^ x1 ^ key0), uint32(uint32(a >> high) ^ x3 ^ key1)
            x1, x3 = uint32(b), uint32(a)
            key0, key1 = uint32(key0 + step0), uint32(key1 + step1)
        return x0, x1, x2, x3

    return inlined(philox)  # type: ignore[no-any-return]


def _draws() -> tuple[Callable[..., Any], Callable[..., Any]]:
    philox, uint32, high = _philox(), np.uint32, np.uint64(32)
    none, one, two = np.uint64(0), np.uint64(1), np.uint64(2)

    def draw(block: Any, tweak: Any, seed: Any) -> Any:
        """Return the four random words of counter ``block``, for elements 4 * block to 4 * block + 3."""
        x0, x1, x2, x3 = uint32(block), uint32(block >> high), uint32(tweak), uint32(tweak >> high)
        return philox(x0, x1, x2, x3, uint32(seed), uint32(seed >> high))

    drawn = inlined(draw)

    def draw_one(place: Any, tweak: Any, seed: Any) -> Any:
        """Return the random word of one element."""
        x0, x1, x2, x3 = drawn(place >> two, tweak, seed)
        first = x1 if place & one != none else x0
        second = x3 if place & one != none else x2
        return second if place & two != none else first

    return drawn, inlined(draw_one)


draw, draw_one = _draws()
