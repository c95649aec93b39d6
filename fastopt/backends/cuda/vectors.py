"""Loads and stores of four adjacent elements with the widest instructions of a CUDA device.

With single stores, 32 threads of four elements each would write to four times as many sectors of 32 bytes, in part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastopt.backends.cuda.target import SIMULATED
from fastopt.codegen.cuda.random import FOUR

#: The largest load or store of one instruction, in bytes.
WIDEST = 16


def alignment(itemsize: int) -> int:
    """Return the required alignment of four elements of this size, in bytes."""
    return min(FOUR * itemsize, WIDEST)


if SIMULATED:

    def load_four(array: Any, i: Any) -> Any:
        """Return elements i to i + 3."""
        return tuple(array[i + np.uint64(k)] for k in range(FOUR))

    def store_four(array: Any, i: Any, *values: Any) -> None:
        """Write elements i to i + 3."""
        array[i : i + np.uint64(FOUR)] = values

else:
    from llvmlite import ir
    from numba import types
    from numba.cuda.extending import intrinsic

    def _vectors(context: Any, builder: Any, stored: Any, pointer: Any, i: Any) -> Iterator[tuple[Any, int]]:
        """Return pointers to the vectors of four elements, and the position of each element in a vector."""
        element = context.get_data_type(stored)
        size = stored.bitwidth // 8
        count = min(FOUR, WIDEST // size)
        first = builder.gep(pointer, [i])
        vectors = builder.bitcast(first, ir.PointerType(ir.VectorType(element, count)))
        for k in range(FOUR // count):
            yield builder.gep(vectors, [ir.Constant(ir.IntType(64), k)]), count

    @intrinsic  # type: ignore[untyped-decorator]
    def load_four(typing_context: Any, pointer: Any, i: Any) -> Any:
        """Return elements i to i + 3."""

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            loaded = []
            for vector, count in _vectors(context, builder, pointer.dtype, *values):
                some = builder.load(vector, align=alignment(pointer.dtype.bitwidth // 8))
                loaded += [builder.extract_element(some, ir.Constant(ir.IntType(32), k)) for k in range(count)]
            return context.make_tuple(builder, signature.return_type, loaded)

        return types.UniTuple(pointer.dtype, FOUR)(pointer, i), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def store_four(typing_context: Any, pointer: Any, i: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        """Write elements i to i + 3."""

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            elements = iter(values[2:])
            for vector, count in _vectors(context, builder, pointer.dtype, *values[:2]):
                some = ir.Constant(vector.type.pointee, ir.Undefined)
                for k in range(count):
                    some = builder.insert_element(some, next(elements), ir.Constant(ir.IntType(32), k))
                builder.store(some, vector, align=alignment(pointer.dtype.bitwidth // 8))
            return context.get_dummy_value()

        return types.void(pointer, i, *[pointer.dtype] * FOUR), generate
