"""Random calls of norms, norm objects and residual connections."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastopt
import fastopt.norm
from benchmarks.bits.call import Call, Options, calls_of
from benchmarks.bits.inputs import Inputs, Shape, array_names, hyperparameters

SHAPES: list[Shape] = [
    *[(8, 16), (1, 1), (7, 3), (0, 4), (33, 1023), (1024, 31), (5, 20_011), (20_011, 2)],
    *[(2, 5, 7), (3, 16, 49), (16, 3, 1023), (2, 7, 4099), (4, 1, 1)],
    *[(4, 7, 5, 5), (2, 64, 7, 7), (3, 24, 28, 28), (9, 12, 1, 31), (2, 3, 65, 67)],
    (2, 6, 3, 5, 7),
]
LARGE_SHAPES: list[Shape] = [
    *[(600, 512), (300_007, 1), (150_001, 3), (2, 300, 513), (2, 7, 43_003)],
    *[(32, 64, 14, 14), (4, 3, 160, 160)],
]


def norm_calls() -> list[Call]:
    """Return forward and backward calls of all norms, and calls of norm objects and residual connections."""
    functions = [name for name in fastopt.__all__ if "_norm_" in name]
    calls = [call for name in functions for call in calls_of(name, 90, lambda *given, name=name: norm(name, *given))]
    for name in ("BatchNorm", "LayerNorm", "InstanceNorm", "GroupNorm"):
        calls += calls_of(name, 30, lambda *given, name=name: norm_object(name, *given))
    calls += calls_of("DatasetStatistics", 20, dataset_statistics)
    for name in ("residual_add", "residual_add_backward"):
        calls += calls_of(name, 40, lambda *given, name=name: residual(name, *given))
    return calls


def norm(name: str, inputs: Inputs, options: Options) -> Any:
    """Call a norm, with random choices of affine parameters, activation, residual, running statistics and out."""
    function, family = getattr(fastopt, name), name.partition("_norm")[0]
    shape = inputs.shape(shapes=SHAPES, large=LARGE_SHAPES)
    axis = inputs.choice("axis", range(-len(shape), len(shape)) if family == "layer" else [1, -1])
    channels = shape[axis]
    numbers = hyperparameters(function, inputs) | {"axis": axis}
    if family == "group":
        numbers["groups"] = groups_of(channels, inputs)
    of_channel = shape[axis:] if family == "layer" else (channels,)
    of_set = {
        "batch": (channels,),
        "layer": shape[: axis % len(shape)],
        "instance": (shape[0], channels),
        "group": (shape[0], numbers.get("groups", 1)),
    }[family]
    shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var", "dweight", "dbias"), of_channel)
    shapes |= dict.fromkeys(("mean", "rstd"), of_set)
    has_statistics, activation, with_residual = (
        inputs.chance(each) for each in ("has statistics", "has activation", "has residual")
    )
    arrays: dict[str, Any] = {}
    for array, optional in array_names(function).items():
        running = array.startswith("running_")
        given = (not optional or has_statistics) if running else not inputs.chance(f"no {array}", 0.3)
        if given or not (optional or array in ("weight", "bias")):
            arrays[array] = make(inputs, array, shapes.get(array, shape))
        elif not optional:
            arrays[array] = None
    backward = "dy" in arrays
    if activation:
        numbers["activation"] = "relu"
        if backward:
            arrays["y"] = make(inputs, "y", shape)
    if with_residual:
        arrays["residual"] = True if backward else make(inputs, "residual", shape)
    if inputs.chance("has out", 0.3):
        results = ["dx", "dweight", "dbias"] if backward else ["y", "mean", "rstd"]
        results += ["dresidual"] if backward and with_residual else []
        out = [
            None if inputs.chance(f"no out {each}", 0.3) else inputs.array(f"out {each}", shapes.get(each, shape))
            for each in results
        ]
        numbers["out"] = out[0] if name == "batch_norm_inference" else tuple(out)
    return function(**arrays, **numbers, **options)


def make(inputs: Inputs, name: str, shape: Shape) -> np.ndarray:
    """Return an array of a norm. Means of x may be large relative to deviations; variances are positive."""
    offset = inputs.choice("offset of x", [0.0, 0.0, 0.0, 10.0, 1000.0]) if name == "x" else 0.0
    return inputs.array(name, shape, offset=offset, positive=name in ("running_var", "rstd"))


def groups_of(channels: int, inputs: Inputs) -> int:
    """Return a number of groups that divides the channels."""
    return inputs.choice("groups", [n for n in range(1, channels + 1) if channels % n == 0])


def norm_object(name: str, inputs: Inputs, options: Options) -> Any:
    """Train a norm object for several steps, and use it in evaluation."""
    shape = inputs.shape(shapes=SHAPES, large=LARGE_SHAPES)
    numbers: dict[str, Any] = {"dtype": inputs.choice("dtype", [np.float32, np.float32, np.float64])}
    numbers["affine"] = inputs.chance("affine", 0.7)
    numbers["activation"] = inputs.choice("activation", [None, "relu"])
    numbers |= hyperparameters(getattr(fastopt.norm, name), inputs)
    first: Any = shape[-1]
    if name == "LayerNorm":
        first = shape[-inputs.whole("axes", 1, len(shape) - 1) :]
    else:
        numbers["axis"] = inputs.choice("axis", [1, -1])
        first = shape[numbers["axis"]]
    if name == "GroupNorm":
        numbers["groups"] = groups_of(first, inputs)
    layer = getattr(fastopt.norm, name)(first, **numbers, **options)
    with_residual = inputs.chance("has residual", 0.3)
    seen = []
    for step in range(2):
        x = make(inputs, "x" if step == 0 else "next x", shape)
        residual = make(inputs, f"residual {step}", shape) if with_residual else None
        seen.append(np.array(layer.forward(x, residual)))
        returned = layer.backward(make(inputs, f"dy {step}", shape))
        seen += [np.array(each) for each in (returned if isinstance(returned, tuple) else (returned,))]
        seen += [np.array(each) for each in (layer.mean, layer.rstd, layer.dweight, layer.dbias)]
    layer.eval()
    return seen, np.array(layer.forward(make(inputs, "last x", shape))), layer.state_dict()


def dataset_statistics(inputs: Inputs, options: Options) -> Any:
    """Accumulate the statistics of three batches, one of them in another object."""
    shape = inputs.shape(shapes=SHAPES, large=LARGE_SHAPES)
    axis = inputs.choice("axis", [1, -1])
    one, other = (fastopt.norm.DatasetStatistics(shape[axis], axis=axis, **options) for _ in range(2))
    one.update(make(inputs, "x", shape))
    one.update(make(inputs, "next x", shape))
    other.update(make(inputs, "last x", shape))
    one.merge(other)
    layer = fastopt.norm.BatchNorm(shape[axis], axis=axis, **options)
    layer.use(one)
    return one.count, one.mean, one.m2, one.var(), layer.running_mean, layer.running_var


def residual(name: str, inputs: Inputs, options: Options) -> Any:
    """Call a residual connection, with random choices of activation and out."""
    function, shape = getattr(fastopt, name), inputs.shape()
    arrays = {array: inputs.array(array, shape) for array in array_names(function)}
    if inputs.chance("has activation"):
        arrays["activation"] = "relu"
        if name.endswith("backward"):
            arrays["y"] = inputs.array("y", shape)
    if inputs.chance("has out", 0.3):
        arrays["out"] = inputs.array("out", shape)
    return function(**arrays, **options)
