"""Random numbers: what is made of random bits, and what keeps the bits of different purposes apart."""

from __future__ import annotations

from typing import NamedTuple

#: What bits are for: a part of each counter, so that two purposes never share bits, whatever their seeds and offsets.
#: ``enum purpose`` in C begins with 1. A position is a part of the results: a new purpose is the last.
PURPOSES = ("INITIAL", "INITIAL_MORE", "DROPOUT", "SHUFFLE", "NOISE", "NOISE_MORE", "FLIP", "SHIFT", "CROP")

#: What a rule calls the 32 random bits of an element, and 32 more.
BITS = ("bits", "more_bits")


class RandomSpec(NamedTuple):
    """What fills an array with random numbers, adds them to it, or drops elements at random."""

    #: The function's name in fastopt/coefficients/random.py and in fastopt/reference/random.py.
    name: str
    #: The function of fastopt/rules/random.py, by compute type: it takes 32 bits for each purpose.
    functions: dict[str, str]
    #: What its bits are for, by compute type.
    purposes: dict[str, tuple[str, ...]]
    #: An argument of the function that is an array here: the element that is read, and written in its place.
    element: str | None = None

    def kernel(self, dtype: str) -> str:
        """Return the name of the kernel."""
        return f"{self.name}_{dtype}" if self.element else self.functions[dtype]


_INITIAL = {"float32": ("INITIAL",), "float64": ("INITIAL", "INITIAL_MORE")}

UNIFORM = RandomSpec("uniform", {"float32": "uniform_float32", "float64": "uniform_float64"}, _INITIAL)
NORMAL = RandomSpec("normal", {"float32": "normal_float32", "float64": "normal_float64"}, _INITIAL)
DROPOUT = RandomSpec(
    "dropout", dict.fromkeys(("float32", "float64"), "dropout"), dict.fromkeys(("float32", "float64"), ("DROPOUT",))
)

#: Noise is a distribution whose mean is the element that it is added to.
_NOISE = {"float32": ("NOISE",), "float64": ("NOISE", "NOISE_MORE")}
NOISE = RandomSpec("noise", NORMAL.functions, _NOISE, "mean")
UNIFORM_NOISE = RandomSpec(
    "uniform_noise", {each: f"uniform_noise_{each}" for each in ("float32", "float64")}, _NOISE, "mean"
)

#: All of them. A position is the number of the kernel.
RANDOM = (UNIFORM, NORMAL, DROPOUT, NOISE, UNIFORM_NOISE)


def purpose(name: str) -> int:
    """Return the number of a purpose."""
    return PURPOSES.index(name) + 1
