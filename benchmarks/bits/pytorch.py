"""Random training runs of the optimizers of `fastopt.torch`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from benchmarks.bits.call import CYTHON_ONLY, Call, Options, calls_of
from benchmarks.bits.inputs import HYPERPARAMETERS, Inputs
from benchmarks.bits.optimizers import LARGE_SHAPES, SHAPES

STEPS = 3

CLASSES = ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Lion"]

#: Options of each class besides lr and weight_decay
OPTIONS = {
    "SGD": ["momentum", "nesterov"],
    "RMSprop": ["centered", "momentum", "eps"],
    "Adagrad": ["lr_decay", "eps"],
    "Adadelta": ["eps"],
    "Adam": ["betas", "amsgrad", "eps"],
    "AdamW": ["betas", "amsgrad", "eps"],
    "Adamax": ["betas", "eps"],
    "NAdam": ["betas", "momentum_decay", "decoupled_weight_decay"],
    "RAdam": ["betas", "decoupled_weight_decay"],
    "Lion": ["betas"],
}


def torch_calls() -> list[Call]:
    """Return training runs of every class if PyTorch is installed."""
    if find_spec("torch") is None:
        return []
    return [
        call
        for name in CLASSES
        for call in calls_of(f"torch.{name}", 20, lambda *given, name=name: train(name, *given), backends=CYTHON_ONLY)
    ]


def train(name: str, inputs: Inputs, options: Options) -> Any:
    """Make several steps; return parameters and state. PyTorch is imported here, since most runs don't need it."""
    import torch

    import fastopt.torch

    numbers = {}
    for option in ("lr", "weight_decay", "maximize", *OPTIONS[name]):
        if option == "betas":
            numbers[option] = (inputs.uniform("beta1", 0, 0.99), inputs.uniform("beta2", 0.5, 0.9999))
        elif inputs.chance(f"{option} is given"):
            numbers[option] = HYPERPARAMETERS.get(option, HYPERPARAMETERS["amsgrad"])(inputs, option)
    if numbers.get("nesterov") and not numbers.get("momentum"):
        numbers["momentum"] = 0.5
    dtype = getattr(torch, inputs.choice("dtype", ["float32", "float32", "float64", "float16", "bfloat16"]))

    def tensor(name: str, shape: Any) -> Any:
        values = torch.from_numpy(inputs.rng(name).standard_normal(shape)).to(dtype)
        return values.T.contiguous().T if inputs.chance(f"{name} is transposed", 0.2) and len(shape) == 2 else values

    shapes = [inputs.shape(f"shape {number}", SHAPES, LARGE_SHAPES) for number in range(inputs.whole("tensors", 1, 6))]
    params = [torch.nn.Parameter(tensor(f"tensor{number}", shape)) for number, shape in enumerate(shapes)]
    optimizer = getattr(fastopt.torch, name)(params, **numbers)
    inputs.notes.append(f"{dtype} {shapes} {numbers}")
    before = fastopt.get_num_threads()
    fastopt.set_num_threads(options["num_threads"])
    try:
        for step in range(STEPS):
            for number, param in enumerate(params):
                param.grad = (
                    None if inputs.chance(f"no {number} {step}", 0.1) else tensor(f"{number} {step}", param.shape)
                )
            optimizer.step()
    finally:
        fastopt.set_num_threads(before)
    return _plain([param.data for param in params]), _plain(optimizer.state_dict()["state"])


def _plain(value: Any) -> Any:
    """Return NumPy arrays in place of tensors; bfloat16 becomes float32."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if hasattr(value, "numpy"):
        return str(value.dtype), (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    return value
