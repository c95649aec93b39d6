"""Functions for rules in Numba's CPU and CUDA targets, in one compute type: a literal would introduce another one.

They are those of fastopt/primitives.py and, for rules/random.py, of fastopt/rules/random_primitives.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types


def typed_primitives(dtype: str) -> dict[str, Callable[..., Any]]:
    """Return the functions that Numba does not provide, by name."""
    real = getattr(np, dtype)
    zero, one, minus_one = real(0), real(1), real(-1)

    def sign(x: Any) -> Any:
        return one if x > zero else (minus_one if x < zero else x)

    def relu(x: Any) -> Any:
        return zero if x <= zero else x

    def gate(dy: Any, y: Any) -> Any:
        return zero if y <= zero else dy

    return {"sign": sign, "relu": relu, "gate": gate}


def reinterpretation(intrinsic: Callable[..., Any], given: str, wanted: str) -> Callable[[Any], Any]:
    """Return a function that reinterprets the bits of one type as another, with a target's ``intrinsic``."""
    taken, made = getattr(types, given), getattr(types, wanted)

    def typed(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.bitcast(values[0], context.get_value_type(made))

        return made(taken), generate

    return intrinsic(typed)  # type: ignore[no-any-return]


def random_primitives(
    dtype: str, inlined: Callable[..., Any], reinterpretation: Callable[[str, str], Callable[[Any], Any]]
) -> dict[str, Any]:
    """Return the functions by name, given a target's decorator for inlining and its reinterpretation of bits.

    Shifts and masks are typed, too.
    """
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
