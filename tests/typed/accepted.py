"""The types that type checkers must infer for results; at run time, the program checks them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

import fastopt
from fastopt import minibatches, schedules
from fastopt.norm import BatchNorm
from fastopt.optim import SGD, AdamW, Group, StepResult
from fastopt.scaling import StandardScaler, Whitener

x: NDArray[np.float32] = np.random.default_rng(0).standard_normal((8, 4), np.float32)

# ---- Norms: arrays, and as many as are asked for

y, mean, rstd = fastopt.batch_norm_forward(x, residual=x, activation="relu")
assert_type(y, NDArray[Any])
assert_type(rstd, NDArray[Any])
assert_type(
    fastopt.batch_norm_backward(y, x, None, mean, rstd, axis=1), tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
)
four = fastopt.batch_norm_backward(
    y, x, None, mean, rstd, y=y, activation="relu", residual=True, out=(np.empty_like(x), None, None, None)
)
assert_type(four, tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]])
for residual in (False, True):
    several = fastopt.batch_norm_backward(y, x, None, mean, rstd, residual=residual)
    assert_type(several, tuple[NDArray[Any], ...])
    assert len(several) == 3 + residual
constant = fastopt.batch_norm_backward_inference(y, x, None, mean, rstd, eps=1e-3, residual=True)
assert_type(constant, tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]])
y, mean, rstd = fastopt.layer_norm_forward(x)
assert_type(fastopt.layer_norm_backward(y, x, None, mean, rstd), tuple[NDArray[Any], NDArray[Any], NDArray[Any]])
y, mean, rstd = fastopt.group_norm_forward(x, groups=2)
grouped = fastopt.group_norm_backward(y, x, None, mean, rstd, groups=2, residual=True)
assert_type(grouped, tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]])
y, mean, rstd = fastopt.instance_norm_forward(x[None])
instance = fastopt.instance_norm_backward(y, x[None], None, mean, rstd)
assert_type(instance, tuple[NDArray[Any], NDArray[Any], NDArray[Any]])
running_mean, running_var = np.zeros(4, np.float32), np.ones(4, np.float32)
assert_type(fastopt.batch_norm_inference(x, None, None, running_mean, running_var), NDArray[Any])

norm = BatchNorm(4)
assert_type(norm.eval().forward(x), NDArray[Any])
assert_type(norm.train(), BatchNorm)
assert_type(norm.running_mean, NDArray[Any])
assert_type(norm.batches_seen, NDArray[np.int64])
for values in (norm.weight, norm.bias, norm.dweight, norm.dbias):
    assert_type(values, NDArray[Any])
assert_type(norm.backward(x), NDArray[Any] | Any)
assert_type(norm.params, list[NDArray[Any]])

# ---- Other functions on arrays

assert_type(fastopt.residual_add(x, x), NDArray[Any])
assert_type(fastopt.residual_add_backward(x), NDArray[Any])
assert_type(fastopt.dropout_forward(x, seed=1), NDArray[Any])
assert_type(fastopt.dropout_backward(x, seed=1), NDArray[Any])
assert_type(StandardScaler().fit(x), StandardScaler)
assert_type(StandardScaler().fit(x).transform(x), NDArray[Any])
assert_type(Whitener(eps=0.1).fit(x).inverse_transform(x), NDArray[Any])

# ---- Mini-batches look as the arrays were given

for one in minibatches(x, batch_size=4):
    assert_type(one, NDArray[Any])
for several in minibatches(x, np.arange(8), batch_size=4, seed=1, drop_last=True):
    assert_type(several, tuple[NDArray[Any], ...])
for named in minibatches({"x": x, "labels": np.arange(8)}, batch_size=4, copy=True):
    assert_type(named, dict[str, NDArray[Any]])
for numbers in minibatches(x, batch_size=4, indices_only=True):
    assert_type(numbers, NDArray[np.int64])
for numbers in minibatches(8, batch_size=4, indices_only=True):
    assert_type(numbers, NDArray[np.int64])
batches = minibatches(x, batch_size=4)
assert_type(len(batches), int)
assert_type(batches.seed, int)
assert_type(batches.drop_last, bool)

# ---- Optimizers

params = {"weight": x.copy(), "bias": np.zeros(4, np.float32)}
grads = {name: np.ones_like(param) for name, param in params.items()}
optimizer = AdamW(params, lr=schedules.cosine(0.1, steps=10), amsgrad=True, state_dtype="float16", num_threads=1)
result = optimizer.step(grads, max_norm=1.0, skip_nonfinite=True)
assert_type(result, StepResult)
assert_type(result.step, int)
assert_type(result.grad_norm, float | None)
assert_type(result.skipped, bool)
assert_type(optimizer.groups, list[Group])
assert_type(optimizer.groups[0].names, list[str | int])
assert_type(optimizer.groups[0].lr, float | Any)
assert_type(optimizer.groups[0].hyperparameters, dict[str, Any])
assert_type(optimizer.state["weight"], Mapping[str, NDArray[Any]])
assert_type(optimizer.state["weight"]["m"], NDArray[Any])
assert_type(optimizer.steps, NDArray[np.int64])
optimizer.groups[0].lr = 0.5
optimizer.groups[0].lr *= 0.5
optimizer.groups[0].weight_decay = 0.0
optimizer.state["weight"]["m"][...] = 0

by_position = AdamW([param.copy() for param in params.values()], master_weights=True)
by_position.step(list(grads.values()))
by_position.step([None, grads["bias"]])
assert_type(by_position.state[0]["m"], NDArray[Any])
for arrays in optimizer.state.values():
    assert_type(arrays["m"], NDArray[Any])
SGD([{"params": params, "lr": 0.5}, {"params": {"dense": {"kernel": x.copy()}}}], lr=0.1, stochastic_rounding=3)
SGD((param.copy() for param in params.values()), lr=np.float32(0.1), ema_decay=0.5, backend="cython")

# ---- Schedules are functions of the step

assert_type(schedules.cosine(0.1, steps=10)(1), float)
assert_type(schedules.warmup(schedules.cosine(0.1, steps=90), steps=10)(np.int64(3)), float)
assert_type(schedules.warmup(lambda step: 0.1 / step, steps=10)(3), float)
plateau = schedules.ReduceOnPlateau(0.1)
assert_type(plateau.observe(1.0), bool)
assert_type(plateau(1), float)

# ---- Modules without an import of their own, kernels, rules

assert_type(fastopt.optim.AdamW([x.copy()]), AdamW)
assert_type(fastopt.kernel("adam", "float32").address, int)
assert_type(fastopt.get_include(), str)
assert_type(fastopt.get_num_threads(), int)


@fastopt.rule
def heavy_ball(param: Any, grad: Any, velocity: Any, /, lr: Any, momentum: Any = 0.9) -> Any:
    """Return param and velocity."""
    velocity = momentum * velocity - lr * grad
    return param + velocity, velocity


assert_type(heavy_ball.optimizer([x.copy()], lr=0.5).step([x]), StepResult)
