"""PyTorch's norms, on the same memory as fastopt's.

"torch op" is the operator behind the module, which allocates its results. "torch out" writes into existing arrays; it
is measured for batch norm only, since other variants with ``out`` (and that of batch norm's backward pass) allocate and
copy. "torch module" is what users write: ``torch.nn.BatchNorm2d`` and others, with autograd as the backward pass.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch

from benchmarks.candidates import Candidate, Step
from benchmarks.norms.workload import NormWorkload
from benchmarks.workload import Arrays

Tensors: TypeAlias = dict[str, torch.Tensor]

MOMENTUM, EPS = 0.1, 1e-5
EVERY = [True, True, True]

aten = torch.ops.aten


def tensors_of(workload: NormWorkload, arrays: Arrays) -> Tensors:
    """Return tensors over the arrays' memory, with channels along axis 1, as PyTorch requires."""
    t = {name: _channels_second(workload, _tensor(array)) for name, array in arrays.items()}
    if workload.norm == "layer":
        t |= {name: t[name][:, None] for name in ("mean", "rstd")}
    return t


def _tensor(array: np.ndarray | torch.Tensor) -> torch.Tensor:
    if isinstance(array, torch.Tensor):  # on a device; a module's requires_grad must not affect other candidates
        return array.detach()
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _channels_second(workload: NormWorkload, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.movedim(workload.axis, 1) if tensor.ndim == len(workload.sizes) > 1 else tensor


def _results(workload: NormWorkload, arrays: Arrays, returned: Any) -> Arrays:
    """Convert tensors to arrays; a module's forward pass returns only y."""
    results = dict(arrays)
    tensors = returned if isinstance(returned, (tuple, list)) else (returned,)
    for name in workload.outputs[len(tensors) :]:
        del results[name]
    for name, tensor in zip(workload.outputs, tensors, strict=False):
        tensor = tensor.detach()
        if tensor.ndim == len(workload.sizes) > 1:
            tensor = tensor.movedim(1, workload.axis)
        results[name] = _as(arrays[name], tensor).reshape(arrays[name].shape)
    return results


def _as(array: np.ndarray | torch.Tensor, tensor: torch.Tensor) -> np.ndarray | torch.Tensor:
    return tensor if isinstance(array, torch.Tensor) else tensor.float().numpy().astype(array.dtype)


# ---- Operators


def _operators(workload: NormWorkload, t: Tensors) -> dict[str, Step]:
    """Return the operator behind the workload's module, without and, if it exists, with ``out``.

    Operators in ``torch`` have less overhead than those in ``torch.ops.aten``: 13 and 15 us for 256x64.
    """
    if workload.direction == "backward":
        return _backward_operators(workload, t)
    x, weight, bias = t["x"], t["weight"], t["bias"]
    if workload.norm == "batch":
        running, training = (t["running_mean"], t["running_var"]), workload.direction == "forward"
        op = partial(torch.native_batch_norm, x, weight, bias, *running, training, MOMENTUM, EPS)
        out = [t.get(name, torch.empty(0)) for name in ("y", "mean", "rstd")]
        return {"op": op, "out": partial(op, out=tuple(out))}
    if workload.norm == "layer":
        return {"op": partial(torch.native_layer_norm, x, weight.shape, weight, bias, EPS)}
    return {"op": partial(torch.native_group_norm, x, weight, bias, *_grouping(workload), EPS)}


def _backward_operators(workload: NormWorkload, t: Tensors) -> dict[str, Step]:
    # The gradient after relu is that of the residual and of the norm.
    dy, x, weight = t["dresidual" if workload.fused else "dy"], t["x"], t["weight"]
    statistics = (t["mean"], t["rstd"])
    if workload.norm == "batch":
        operator = aten.native_batch_norm_backward
        arguments = (dy, x, weight, None, None, *statistics, True, EPS, EVERY)
        out = {"out0": t["dx"], "out1": t["dweight"], "out2": t["dbias"]}
        return {"op": partial(operator.default, *arguments), "out": partial(operator.out, *arguments, **out)}
    if workload.norm == "layer":
        operator = aten.native_layer_norm_backward.default
        return {"op": partial(operator, dy, x, weight.shape, *statistics, weight, t["bias"], EVERY)}
    operator = aten.native_group_norm_backward.default
    return {"op": partial(operator, dy, x, *statistics, weight, *_grouping(workload), EVERY)}


def _grouping(workload: NormWorkload) -> tuple[int, int, int, int]:
    """Return samples, channels, values per channel, and groups: an instance norm has one group per channel."""
    samples, channels = workload.sizes[0], workload.sizes[workload.axis]
    return samples, channels, workload.elements // (samples * channels), workload.groups or channels


def _make_operator(way: str, workload: NormWorkload, arrays: Arrays, threads: int) -> Step:
    torch.set_num_threads(threads)
    t = tensors_of(workload, arrays)
    step = _operators(workload, t)[way]
    return _fused(workload, t, step) if workload.fused else step


def _fused(workload: NormWorkload, t: Tensors, step: Step) -> Step:
    """Add the operations for which PyTorch has other calls, in place."""

    def norm_add_relu() -> Any:
        y, *statistics = step()
        return y.add_(t["residual"]).relu_(), *statistics

    def relu_add_norm_backward() -> Any:
        aten.threshold_backward.grad_input(t["dy"], t["y"], 0, grad_input=t["dresidual"])
        return *step(), t["dresidual"]

    return relu_add_norm_backward if workload.direction == "backward" else norm_add_relu


# ---- Modules


def _module(workload: NormWorkload, t: Tensors) -> torch.nn.Module:
    channels = workload.sizes[workload.axis]
    if workload.norm == "batch":
        of_rank = torch.nn.BatchNorm1d if len(workload.sizes) == 2 else torch.nn.BatchNorm2d
        module: Any = of_rank(channels, EPS, MOMENTUM)
        running = t["running_mean"], t["running_var"]
        if workload.direction == "backward":  # the statistics of its forward pass, computed once before
            running = running[0].clone(), running[1].clone()
        module.running_mean, module.running_var = running
    elif workload.norm == "layer":
        module = torch.nn.LayerNorm(channels, EPS)
    elif workload.norm == "instance":
        module = torch.nn.InstanceNorm2d(channels, EPS, affine=True)
    else:
        module = torch.nn.GroupNorm(workload.groups, channels, EPS)
    module.weight, module.bias = torch.nn.Parameter(t["weight"]), torch.nn.Parameter(t["bias"])
    return module.train(workload.direction != "inference")


def _make_module(workload: NormWorkload, arrays: Arrays, threads: int) -> Step:
    torch.set_num_threads(threads)
    t = tensors_of(workload, arrays)
    module, x = _module(workload, t), t["x"]
    forward = (lambda: module(x).add_(t["residual"]).relu_()) if workload.fused else partial(module, x)
    if workload.direction == "forward":
        return forward
    if workload.direction == "inference":
        return torch.inference_mode()(forward)
    inputs = [x, module.weight, module.bias, *([t["residual"]] if workload.fused else [])]
    for tensor in inputs:
        tensor.requires_grad_()
    return partial(torch.autograd.grad, forward(), inputs, t["dy"], retain_graph=True)


def peers_of(workload: NormWorkload) -> list[Candidate]:
    """Return PyTorch's implementations of the workload."""
    ways = {"out": partial(_make_operator, "out"), "op": partial(_make_operator, "op"), "module": _make_module}
    if workload.norm != "batch":
        del ways["out"]
    return [Candidate(f"torch {way}", make, results=_results) for way, make in ways.items()]
