"""Random arrays and numbers, each determined by the name of its call and its own name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from hashlib import sha256
from math import exp, log
from typing import Any, TypeVar

import numpy as np
from ml_dtypes import bfloat16

Value = TypeVar("Value")
Shape = tuple[int, ...]

TYPES = {"float16": np.float16, "bfloat16": bfloat16, "float32": np.float32, "float64": np.float64}

#: Storage types of the arrays of a call; most calls have one.
MIXES: list[tuple[str, ...]] = [
    *[("float32",)] * 6,
    *[("float64",), ("float16",), ("bfloat16",)] * 2,
    *[("float16", "bfloat16", "float32")] * 4,
    *[("float16", "bfloat16", "float32", "float64")] * 2,
]

LAYOUTS = ["C", "F", "transposed", "sliced", "padded", "reversed", "unaligned"]

#: Layouts of the arrays of a call
LAYOUT_MIXES = [*[["C"]] * 6, *[[layout] for layout in LAYOUTS[1:]], ["unaligned"], *[LAYOUTS] * 5]

#: Zeros, numbers that a storage type or a square can't represent, and NaN.
SPECIAL = [0.0, -0.0, 1e-310, -1e-40, 3e-39, 6e-8, 1e-30, -1e-20, 65504.0, -1e20, 3e38, 1e200, np.inf, -np.inf, np.nan]

SHAPES: list[Shape] = [
    *[(n,) for n in (0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 127, 1000, 1023, 1024, 1025, 4099, 16384, 20011, 65537)],
    *[(), (1, 1), (7, 13), (1, 1023), (31, 33), (1023, 7), (128, 129), (5, 1, 9), (17, 3, 11), (2, 3, 5, 7)],
]

#: Large enough for several threads
LARGE_SHAPES: list[Shape] = [(300_007,), (262_144,), (601, 503), (3, 100_003)]


class Inputs:
    """The arguments of a call; they are independent of each other and of the order of requests."""

    def __init__(self, call: str) -> None:
        self.call = call
        #: The memory of all arrays, including gaps between elements
        self.memory: list[np.ndarray] = []
        self.notes: list[str] = []

    def rng(self, name: str) -> np.random.Generator:
        """Return the random generator of one argument."""
        return np.random.default_rng(int.from_bytes(sha256(f"{self.call} {name}".encode()).digest()[:8], "little"))

    # ---- Numbers

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        """Return one of these values."""
        return values[int(self.rng(name).integers(len(values)))]

    def chance(self, name: str, probability: float = 0.5) -> bool:
        """Return True with this probability."""
        return bool(self.rng(name).random() < probability)

    def uniform(self, name: str, low: float, high: float) -> float:
        """Return a uniform number from an interval."""
        return low + (high - low) * float(self.rng(name).random())

    def magnitude(self, name: str, low: float, high: float) -> float:
        """Return a number from an interval with a uniform logarithm."""
        return exp(self.uniform(name, log(low), log(high)))

    def whole(self, name: str, low: int, high: int) -> int:
        """Return an integer from an interval, including both ends."""
        return int(self.rng(name).integers(low, high, endpoint=True))

    def seed(self, name: str = "seed") -> int:
        """Return a 64-bit seed, often an extreme one."""
        return self.choice(name, [0, 1, 2**63, 2**64 - 1, self.whole(f"{name} itself", 0, 2**62)])

    def offset(self) -> int:
        """Return an offset of random numbers, from 0 to 2**56 - 1."""
        return self.choice("offset", [0, 0, 1, 2**32, 2**56 - 1, self.whole("offset itself", 0, 10_000)])

    # ---- Arrays

    def shape(
        self, name: str = "shape", shapes: Sequence[Shape] = SHAPES, large: Sequence[Shape] = LARGE_SHAPES
    ) -> Shape:
        """Return a shape, which is large in 4 % of the calls."""
        return self.choice(name, large if self.chance(f"{name} is large", 0.04) else shapes)

    def dtype(self, name: str) -> str:
        """Return the storage type of an array."""
        return self.choice(f"{name} type", self.choice("types", MIXES))

    def array(
        self,
        name: str,
        shape: Shape,
        *,
        dtype: str | None = None,
        scale: float | None = None,
        offset: float = 0.0,
        positive: bool = False,
        special: bool = True,
    ) -> np.ndarray:
        """Return an array of normal numbers, with special values in a fifth of the calls."""
        rng = self.rng(name)
        scale = scale or self.choice(f"{name} scale", [1.0, 1.0, 1.0, 1e-3, 1e3])
        values = np.asarray(offset + scale * rng.standard_normal(shape))
        if special and values.size and self.chance("has special numbers", 0.2):
            values.flat[rng.integers(values.size, size=3)] = rng.choice(SPECIAL, 3)
        return self.place(name, np.asarray(abs(values)) if positive else values, dtype or self.dtype(name))

    def place(self, name: str, values: np.ndarray, dtype: str) -> np.ndarray:
        """Return an array with these values in a random layout."""
        layout = self.choice(f"{name} layout", self.choice("layouts", LAYOUT_MIXES))
        placed, memory = laid_out(values.astype(TYPES.get(dtype, dtype)), layout, self.rng(f"{name} strides"))
        self.memory.append(memory)
        self.notes.append(f"{name}: {dtype}{list(values.shape)} {layout}")
        return placed


def laid_out(values: np.ndarray, layout: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an array with these values in this layout, and the array that owns its memory."""
    axes = range(values.ndim)
    if layout == "F":
        array = values.copy(order="F")
        return array, array
    if layout == "transposed":
        order = rng.permutation(values.ndim)
        memory = values.transpose(order).copy()
        return memory.transpose(np.argsort(order)), memory
    if layout == "reversed":
        backwards = tuple(slice(None, None, -1 if axis == 0 or rng.random() < 0.5 else 1) for axis in axes)
        memory = values[(*backwards, ...)].copy()
        return memory[(*backwards, ...)], memory
    if layout == "unaligned":
        start = int(rng.integers(1, 16))
        memory = np.ones(start + values.size, values.dtype)
        array = memory[start:].reshape(values.shape)
    elif layout in ("sliced", "padded"):
        steps = [int(rng.integers(1, 4)) if layout == "sliced" else 1 for _ in axes]
        memory = np.ones([length * step + 3 for length, step in zip(values.shape, steps, strict=True)], values.dtype)
        places = [slice(2, 2 + length * step, step) for length, step in zip(values.shape, steps, strict=True)]
        array = memory[(*places, ...)]  # an array even without axes
    else:
        array = memory = np.empty_like(values, order="C")
    array[...] = values
    return array, memory


# ---- Hyperparameters by name; all others have their defaults

Draw = Callable[[Inputs, str], Any]


def _uniform(low: float, high: float) -> Draw:
    return lambda inputs, name: inputs.uniform(name, low, high)


def _magnitude(low: float, high: float) -> Draw:
    """Return a generator of numbers of any magnitude, or 0 in a tenth of the calls."""
    return lambda inputs, name: 0.0 if inputs.chance(f"{name} is 0", 0.1) else inputs.magnitude(name, low, high)


def _whole(low: int, high: int) -> Draw:
    return lambda inputs, name: round(inputs.magnitude(name, low, high))


def _one_of(*values: Any) -> Draw:
    return lambda inputs, name: inputs.choice(name, values)


FLAG = _one_of(False, True)

HYPERPARAMETERS: dict[str, Draw] = {
    "alpha": _magnitude(1e-3, 10),
    "amsgrad": FLAG,
    "beta": _uniform(0, 1),
    "beta1": _uniform(0, 0.99),
    "beta2": _uniform(0.5, 0.9999),
    "beta3": _uniform(0.5, 0.9999),
    "bias_correction": FLAG,
    "bound": _uniform(0.5, 5),
    "centered": FLAG,
    "dampening": _uniform(-0.5, 1),
    "decay": _uniform(0, 1),
    "decoupled_weight_decay": FLAG,
    "eps": _magnitude(1e-12, 1e-2),
    "eps_inside_sqrt": FLAG,
    "eta_minus": _uniform(0.1, 0.9),
    "eta_plus": _uniform(1.01, 2),
    "fan_in": _whole(1, 1000),
    "fan_out": _whole(1, 1000),
    "form": _one_of("sum", "average", "step"),
    "grad_scale": _one_of(1.0, -1.0, 1 / 1024, 3.5),
    "high": _uniform(0.5, 2),
    "lambd": _magnitude(1e-6, 1e-1),
    "layout": _one_of("torch", "keras"),
    "low": _uniform(-2, 0.5),
    "lr": _magnitude(1e-6, 1),
    "lr_decay": _magnitude(1e-5, 1e-1),
    "mean": _uniform(-2, 2),
    "momentum": _uniform(0, 1),
    "momentum_decay": _magnitude(1e-4, 1e-1),
    "mu_product": _uniform(0, 0.1),
    "nesterov": FLAG,
    "p": _one_of(0.0, 0.1, 0.25, 0.5, 0.9, 1.0),
    "std": _magnitude(1e-4, 10),
    "step": _whole(1, 20_000),
    "step_max": _uniform(1, 100),
    "step_min": _magnitude(1e-8, 1e-4),
    "t0": _whole(1, 10_000),
    "training": _one_of(True, True, True, False),
    "trust_coefficient": _magnitude(1e-4, 1),
    "unbiased": FLAG,
    "warmup": _whole(1, 1000),
    "weight_decay": _magnitude(1e-6, 0.5),
    "with_mean": FLAG,
    "with_std": FLAG,
}


def hyperparameters(function: Callable[..., Any], inputs: Inputs, **draws: Draw) -> dict[str, Any]:
    """Return all required arguments, and each optional one in half of the calls."""
    return {
        name: draw(inputs, name)
        for name, parameter in inspect.signature(function).parameters.items()
        if (draw := draws.get(name) or (parameter.kind is parameter.KEYWORD_ONLY and HYPERPARAMETERS.get(name)))
        and (parameter.default is parameter.empty or inputs.chance(f"{name} is given"))
    }


def array_names(function: Callable[..., Any]) -> dict[str, bool]:
    """Return the names of a function's arrays, and whether each is optional."""
    return {
        name: parameter.default is None
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
