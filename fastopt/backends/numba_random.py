"""What a rule of random_rules.py calls, for Numba: fastopt/random_primitives.py, in one compute type throughout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types, uint32
from numba.extending import intrinsic

from fastopt.backends.numba_compiler import OPTIONS

__all__ = ["primitives", "uint32"]


def primitives(real: Any) -> dict[str, Any]:
    """Return the functions by name; shifts and masks are typed, for a literal would make 64 bits of 32."""
    word, digits, one, root_half = (
        (np.uint32, 23, 0x3F800000, 0x3F3504F3)
        if real == types.float32
        else (np.uint64, 52, 0x3FF0000000000000, 0x3FE6A09E667F3BCD)
    )
    of_bits, bits_of = _reinterpretation(getattr(types, word.__name__), real), _reinterpretation(real, None)
    raised, base, below = word(one - root_half), word(root_half), word((1 << digits) - 1)
    shift, bias, last = word(digits), np.int32(one >> digits), word(8 * word().itemsize - 1)
    int32, kept, to_last = np.int32, np.uint32(0x7FFFFFFF), np.uint32(31)

    def leading(count: int) -> Any:
        cut = np.uint32(32 - count)

        def top(bits: Any) -> Any:
            return real(int32(uint32(bits >> cut)))

        return _inlined(top)

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

    functions = {each.__name__: _inlined(each) for each in (low31, other31, signed, exponent, mantissa)}
    return functions | {f"top{count}": leading(count) for count in (21, 24, 26, 27)}


def _inlined(function: Callable[..., Any]) -> Any:
    return numba.njit(inline="always", **OPTIONS)(function)


def _reinterpretation(given: Any, wanted: Any) -> Callable[..., Any]:
    """Return what takes the bits of a number as those of another type: of ``wanted``, or of a whole number as wide."""
    wanted = wanted or (types.uint32 if given == types.float32 else types.uint64)

    def reinterpreted(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.bitcast(values[0], context.get_value_type(wanted))

        return wanted(given), generate

    return intrinsic(reinterpreted)  # type: ignore[no-any-return]
