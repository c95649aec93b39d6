"""Random training runs of optimizers with state."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastopt.optim
from benchmarks.bits.call import BACKENDS, Call, Options, calls_of
from benchmarks.bits.inputs import TYPES, Inputs, Shape, hyperparameters

STEPS = 4

#: Shapes of a model's tensors
SHAPES: list[Shape] = [(1,), (7,), (16,), (13, 5), (31, 33), (1023,), (3, 4, 5), (4099,)]
LARGE_SHAPES: list[Shape] = [(300_007,), (601, 503)]


def optimizer_calls() -> list[Call]:
    """Return training runs of every optimizer class."""
    classes = [each for each in fastopt.optim.__all__ if each not in ("Group", "Optimizer", "StepResult")]
    return [
        call
        for name in classes
        for call in calls_of(name, 30, lambda *given, name=name: train(name, *given), BACKENDS[:2])
    ]


def train(name: str, inputs: Inputs, options: Options) -> Any:
    """Make several steps with a checkpoint in between; return all results and the state."""
    make = getattr(fastopt.optim, name)
    numbers = hyperparameters(make, inputs) | precision(inputs)
    if numbers.get("nesterov") or numbers.get("form", "sum") != "sum":
        numbers.pop("dampening", None)
    if name != "Rprop" and inputs.chance("lr is a function", 0.2):
        numbers["lr"] = lambda step: 0.1 / step
    names = [f"tensor{number}" for number in range(inputs.whole("tensors", 1, 6))]
    tensors = {each: inputs.array(each, inputs.shape(f"{each} shape", SHAPES, LARGE_SHAPES)) for each in names}
    params = arranged(inputs, tensors)
    optimizer = make(params, **numbers, **options)
    of_step = {
        "max_norm": inputs.choice("max_norm", [None, None, 1.0, np.inf]),
        "max_tensor_norm": inputs.choice("max_tensor_norm", [None, None, None, 0.5]),
        "skip_nonfinite": inputs.chance("skip_nonfinite", 0.7),
        "grad_scale": inputs.choice("grad_scale", [1.0, 1.0, -1.0, 1 / 128]),
    }
    results = []
    for step in range(STEPS):
        grads = [
            None if inputs.chance(f"no {each} {step}", 0.1) else gradient(inputs, f"{each} {step}", array.shape)
            for each, array in tensors.items()
        ]
        given = grads if isinstance(params, list) else dict(zip(tensors, grads, strict=True))
        if isinstance(params, dict) and "nested" in params:
            given = {f"nested/{each}": grad for each, grad in given.items()}
        try:
            results.append(optimizer.step(given, **of_step))
        except ValueError as error:  # a norm that is not finite
            results.append(type(error).__name__)
        if step == 1 and inputs.chance("reload", 0.3):
            state = optimizer.state_dict()
            optimizer = make(params, **numbers, **options)
            optimizer.load_state_dict(state)
    return results, optimizer.state_dict()


def precision(inputs: Inputs) -> dict[str, Any]:
    """Return options of mixed precision that the parameters allow."""
    chosen: dict[str, Any] = {}
    if inputs.chance("has ema", 0.3):
        chosen["ema_decay"] = inputs.uniform("ema_decay", 0, 1)
    if inputs.chance("has a state type", 0.3):
        chosen["state_dtype"] = TYPES[inputs.choice("state type", list(TYPES))]
    types = {inputs.dtype(f"tensor{number}") for number in range(6)}
    if types <= {"float16", "bfloat16"} and inputs.chance("has master weights", 0.4):
        chosen["master_weights"] = True
    elif types == {"bfloat16"} and inputs.chance("rounds at random", 0.6):
        chosen["stochastic_rounding"] = inputs.seed()
    return chosen


def arranged(inputs: Inputs, tensors: dict[str, np.ndarray]) -> Any:
    """Return parameters as a list, a dict, a nested dict, or groups."""
    arrangement = inputs.choice("arrangement", ["list", "dict", "nested", "groups"])
    arrays = list(tensors.values())
    if arrangement == "list":
        return arrays
    if arrangement == "groups" and len(arrays) > 1:
        return [{"params": arrays[:1], "weight_decay": 0.25}, {"params": arrays[1:]}]
    return {"nested": tensors} if arrangement == "nested" else tensors


def gradient(inputs: Inputs, name: str, shape: Shape) -> np.ndarray:
    """Return a gradient of any dtype."""
    return inputs.array(f"grad {name}", shape, dtype=inputs.dtype(f"grad of {name.split()[0]}"))
