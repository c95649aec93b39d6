"""The timed rows: functions of the number of the call, and the arrays that they write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

import fastopt
import fastopt.init
import fastopt.optim
import fastopt.scaling

#: A function of the number of a call, starting at 1, and the arrays that it writes
Row = tuple[Callable[[int], object], Callable[[], Any]]

#: Number of the model's layers, and their width
LAYERS, WIDTH = 36, 256


def normal(shape: int | tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """Return normal numbers, the same at each call."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32).astype(dtype)


def _update(update: Callable[..., None], elements: int, dtype: Any = np.float32) -> Row:
    param, grad = (normal(elements, dtype, seed) for seed in range(2))
    m, v = np.zeros(elements, np.float32), np.zeros(elements, np.float32)
    return lambda step: update(param, grad, m, v, step=step), lambda: (param, m, v)


def _optimizer(shapes: list[tuple[int, ...]], **of_step: Any) -> Row:
    params = [normal(shape, seed=seed) for seed, shape in enumerate(shapes)]
    grads = [normal(shape, seed=len(shapes) + seed) for seed, shape in enumerate(shapes)]
    optimizer = fastopt.optim.AdamW(params)
    return lambda step: optimizer.step(grads, **of_step), lambda: (params, optimizer.state_dict()["state"])


def _norm(family: str, shape: tuple[int, ...], axis: int, backward: bool) -> Row:
    x, dy = normal(shape), normal(shape, seed=1)
    of_channel = shape[axis:] if family == "layer" else (shape[axis],)
    weight, bias = 1 + 0.1 * normal(of_channel, seed=2), normal(of_channel, seed=3)
    forward, back = (getattr(fastopt, f"{family}_norm_{way}") for way in ("forward", "backward"))
    y, mean, rstd = forward(x, weight, bias, axis=axis)
    if not backward:
        return lambda step: forward(x, weight, bias, axis=axis, out=(y, mean, rstd)), lambda: (y, mean, rstd)
    out = back(dy, x, weight, mean, rstd, axis=axis)
    return lambda step: back(dy, x, weight, mean, rstd, axis=axis, out=out), lambda: out


def _scaler() -> Row:
    x = normal((100_000, 50))
    scaler = fastopt.scaling.StandardScaler()
    return lambda step: scaler.fit(x).transform_(x), lambda: (x, scaler.state_dict())


def _normal() -> Row:
    param = np.empty(1_000_000, np.float32)
    return lambda step: fastopt.init.normal_(param, seed=0, offset=step), lambda: param


def _dropout() -> Row:
    x, y = normal(1_000_000), np.empty(1_000_000, np.float32)
    return lambda step: fastopt.dropout_forward(x, p=0.1, seed=0, offset=step, out=y), lambda: y


NORMS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "batch norm NCHW 32x64x56x56": ("batch", (32, 64, 56, 56), 1),
    "batch norm NHWC 32x56x56x64": ("batch", (32, 56, 56, 64), -1),
    "batch norm NC 1024x512": ("batch", (1024, 512), 1),
    "layer norm 1024x1024": ("layer", (1024, 1024), -1),
}

ROWS: dict[str, Callable[[], Row]] = {
    **{f"adam {size:,}": lambda size=size: _update(fastopt.adam, size) for size in (4, 1000, 100_000, 1_000_000)},
    "adam 50,000,000": lambda: _update(fastopt.adam, 50_000_000),
    "adamw bfloat16 1,000,000": lambda: _update(fastopt.adamw, 1_000_000, bfloat16),
    "AdamW 2000 x 64": lambda: _optimizer([(64,)] * 2000),
    f"AdamW {LAYERS} layers, clipped": lambda: _optimizer([(WIDTH, WIDTH), (WIDTH,)] * LAYERS, max_norm=1.0),
    **{
        f"{name} {'backward' if backward else 'forward'}": lambda norm=norm, backward=backward: _norm(*norm, backward)
        for name, norm in NORMS.items()
        for backward in (False, True)
    },
    "batch norm NC 8x16 forward": lambda: _norm("batch", (8, 16), 1, backward=False),
    "StandardScaler fit, transform_": _scaler,
    "init.normal_ 1,000,000": _normal,
    "dropout 1,000,000": _dropout,
}
