"""What a rule of rules/random.py calls, for Numba: fastopt/rules/random_primitives.py, in one compute type throughout.

A target says how a function becomes part of those that call it, and how the bits of one type become another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def typed_primitives(
    dtype: str, inlined: Callable[..., Any], reinterpretation: Callable[[str, str], Callable[[Any], Any]]
) -> dict[str, Any]:
    """Return the functions by name; shifts and masks are typed, for a literal would make 64 bits of 32."""
    real = getattr(np, dtype)
    word, digits, one, root_half = (
        (np.uint32, 23, 0x3F800000, 0x3F3504F3)
        if dtype == "float32"
        else (np.uint64, 52, 0x3FF0000000000000, 0x3FE6A09E667F3BCD)
    )
    of_bits, bits_of = reinterpretation(word.__name__, dtype), reinterpretation(dtype, word.__name__)
    raised, base, below = word(one - root_half), word(root_half), word((1 << digits) - 1)
    shift, bias, last = word(digits), np.int32(one >> digits), word(8 * word().itemsize - 1)
    int32, uint32, kept, to_last = np.int32, np.uint32, np.uint32(0x7FFFFFFF), np.uint32(31)

    def leading(count: int) -> Any:
        cut = uint32(32 - count)

        def top(bits: Any) -> Any:
            return real(int32(uint32(bits >> cut)))

        return inlined(top)

    def low31(bits: Any) -> Any:
        return real(int32(uint32(bits & kept)))

    def other31(bits: Any) -> Any:
        return real(int32(uint32((bits & kept) ^ kept)))

    def signed(x: Any, bits: Any) -> Any:
        return of_bits(word(bits_of(x) ^ word(word(uint32(bits >> to_last)) << last)))

    def exponent(x: Any) -> Any:
        return real(int32(int32(word(word(bits_of(x) + raised) >> shift)) - bias))

    def mantissa(x: Any) -> Any:
        return of_bits(word(word(word(bits_of(x) + raised) & below) + base))

    functions = {each.__name__: inlined(each) for each in (low31, other31, signed, exponent, mantissa)}
    return functions | {f"top{count}": leading(count) for count in (21, 24, 26, 27)}
