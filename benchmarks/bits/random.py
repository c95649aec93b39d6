"""Random calls of initialisation, dropout and mini-batches, with a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastopt
import fastopt.init
from benchmarks.bits.call import CYTHON_ONLY, Call, Options, calls_of
from benchmarks.bits.inputs import Inputs, hyperparameters

#: Number of recorded batches per epoch
BATCHES = 20


def random_calls() -> list[Call]:
    """Return calls of every function with a seed."""
    calls = []
    for name in fastopt.init.__all__:
        calls += calls_of(name, 30, lambda *given, name=name: initialise(name, *given))
    for name in ("dropout_forward", "dropout_backward"):
        calls += calls_of(name, 40, lambda *given, name=name: dropout(name, *given))
    return calls + calls_of("minibatches", 80, minibatches, backends=CYTHON_ONLY)


def initialise(name: str, inputs: Inputs, options: Options) -> None:
    """Initialise a parameter."""
    function, shape = getattr(fastopt.init, name), inputs.shape()
    fans = {} if len(shape) > 1 else {"fan_in": lambda inputs, name: 30, "fan_out": lambda inputs, name: 50}
    numbers = hyperparameters(function, inputs, mode=lambda inputs, name: inputs.choice(name, ["average", "fan_in"]))
    numbers |= {fan: draw(inputs, fan) for fan, draw in fans.items() if fan in function.__kwdefaults__}
    if numbers.get("mode") == "fan_in":
        numbers.pop("fan_out", None)
    function(inputs.array("param", shape), **numbers, seed=inputs.seed(), offset=inputs.offset(), **options)


def dropout(name: str, inputs: Inputs, options: Options) -> np.ndarray:
    """Call dropout."""
    function, shape = getattr(fastopt, name), inputs.shape()
    numbers = hyperparameters(
        function, inputs, mode=lambda inputs, name: inputs.choice(name, ["inverted", "test-time"])
    )
    if inputs.chance("has out", 0.3):
        numbers["out"] = inputs.array("out", shape)
    return function(inputs.array("x", shape), **numbers, seed=inputs.seed(), offset=inputs.offset(), **options)


def minibatches(inputs: Inputs, options: Options) -> Any:
    """Iterate over two epochs of one array, two, or a dict of them."""
    samples = inputs.choice("samples", [1, 2, 7, 100, 1023, 20_011])
    arrays = [_data(inputs, f"array {n}", samples) for n in range(inputs.whole("arrays", 1, 2))]
    given = (dict(enumerate_names(arrays)),) if inputs.chance("a dict", 0.3) else tuple(arrays)
    batches = fastopt.minibatches(
        *given,
        batch_size=inputs.whole("batch size", 1, max(1, samples // 3)),
        seed=inputs.seed(),
        shuffle=inputs.chance("shuffle", 0.8),
        drop_last=inputs.chance("drop last"),
        epoch=inputs.choice("epoch", [0, 1, 7, 2**32, 2**56 - 2]),
        indices_only=inputs.chance("indices only", 0.2),
        copy=inputs.chance("copy"),
        **options,
    )
    seen = []
    for _ in range(2):
        for number, batch in enumerate(batches):
            if number < BATCHES:
                seen.append(_copied(batch))
    return len(batches), seen


def enumerate_names(arrays: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Return names for arrays."""
    return [(f"array{number}", array) for number, array in enumerate(arrays)]


def _data(inputs: Inputs, name: str, samples: int) -> np.ndarray:
    shape = (samples, *inputs.choice(f"{name} shape", [(), (1,), (7,), (3, 5), (65,)]))
    dtype = inputs.choice(f"{name} type", ["float16", "bfloat16", "float32", "float64", "int64", "uint8", "bool"])
    return inputs.place(name, 50 * np.abs(inputs.rng(name).standard_normal(shape)), dtype)


def _copied(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: np.array(array) for name, array in batch.items()}
    return [np.array(array) for array in batch] if isinstance(batch, tuple) else np.array(batch)
