"""The bits of a number as a number of another type, in functions that Numba compiles, for whichever target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types


def reinterpretation(intrinsic: Callable[..., Any], given: str, wanted: str) -> Callable[[Any], Any]:
    """Return what takes the bits of one type as those of another, by a target's own ``intrinsic``."""
    taken, made = getattr(types, given), getattr(types, wanted)

    def typed(typing_context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.bitcast(values[0], context.get_value_type(made))

        return made(taken), generate

    return intrinsic(typed)  # type: ignore[no-any-return]
