"""Random numbers: the functions of random bits, and the purposes that separate their bits."""

from __future__ import annotations

from typing import NamedTuple

#: Purposes of random bits. They are part of each counter, so two purposes never share bits, for any seeds and offsets.
#: ``enum purpose`` in C begins with 1. A purpose's position determines results: add new ones at the end.
PURPOSES = ("INITIAL", "INITIAL_MORE", "DROPOUT", "SHUFFLE", "NOISE", "NOISE_MORE", "FLIP", "SHIFT", "CROP")

#: The names in a rule of an element's 32 random bits, and of 32 more.
BITS = ("bits", "more_bits")


class RandomSpec(NamedTuple):
    """A function that fills an array with random numbers, adds them to it, or drops elements at random."""

    #: The function's name in fastopt/coefficients/random.py and in fastopt/reference/random.py.
    name: str
    #: The function of fastopt/rules/random.py, by compute type: it takes 32 bits for each purpose.
    functions: dict[str, str]
    #: The purposes of its bits, by compute type.
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

#: All of them. A function's position is the number of its kernel.
RANDOM = (UNIFORM, NORMAL, DROPOUT, NOISE, UNIFORM_NOISE)


def purpose(name: str) -> int:
    """Return the number of a purpose."""
    return PURPOSES.index(name) + 1
