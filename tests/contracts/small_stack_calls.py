"""Calls everything from a thread with a stack of 64 KiB: `test_small_stacks.py` runs this in a process of its own."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

import fastopt
from fastopt import init, optim
from fastopt.engine.threads.threads import pretend_cpu_limit
from fastopt.norm import DatasetStatistics
from fastopt.scaling import MinMaxScaler, StandardScaler, Whitener
from tests.cases import CASES

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "c": lambda x: x.copy(),
    "f": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 3, axis=-1)[..., ::3],
    "reversed": lambda x: x[::-1].copy()[::-1],
}
DTYPES = ("float16", ml_dtypes.bfloat16, "float32", "float64")
SHAPES = {"rows": (96, 80), "planes": (4, 8, 10, 24), "long": (2, 3, 60, 60), "pixels": (4, 10, 24, 8)}
NORMS = ("batch_norm", "instance_norm", "group_norm", "layer_norm")

VALUES = np.random.default_rng(0).standard_normal((96, 80)).astype("f4")

CALLS: dict[str, Callable[[], Any]] = {}


@fastopt.rule
def heavy_ball(param, grad, m, /, *, lr):  # type: ignore[no-untyped-def]
    m = m + grad
    return param - lr * m, m


def add(name: str, function: Callable[..., Any], *arguments: Any) -> None:
    CALLS[name] = lambda: function(*arguments)


def update(case: Any, dtype: Any, layout: str) -> Any:
    arrays = {
        name: LAYOUTS[layout]((VALUES if name in ("param", "grad") else abs(VALUES)).astype(dtype))
        for name in case.arrays
    }
    case.run(arrays, 3)
    return list(arrays.values())


def users_update() -> Any:
    arrays = [LAYOUTS["strided"](VALUES.astype("f2")) for _ in range(3)]
    heavy_ball(*arrays, lr=0.1)
    return arrays


def step(name: str, dtype: Any, options: dict[str, Any]) -> Any:
    params = [VALUES.astype(dtype), np.asfortranarray(VALUES.astype(dtype))]
    getattr(optim, name)(params, lr=0.1, **options).step([VALUES[:, ::-1], VALUES.astype("f2")], max_norm=0.1)
    return params


def normalise(name: str, x: np.ndarray, options: dict[str, Any]) -> Any:
    y, mean, rstd = getattr(fastopt, f"{name}_forward")(x, residual=x, activation="relu", **options)
    return y, getattr(fastopt, f"{name}_backward")(x, x, None, mean, rstd, y=y, activation="relu", **options)


def fill(x: np.ndarray) -> Any:
    filled = [np.empty_like(x) for _ in range(3)]
    init.normal_(filled[0], seed=1)
    init.uniform_(filled[1], seed=1)
    init.truncated_normal_(filled[2], seed=1)
    return filled


for case, dtype, layout in itertools.product(CASES, DTYPES, LAYOUTS):
    add(f"{case.name} {dtype} {layout}", update, case, dtype, layout)
add("rule", users_update)
add("masters", step, "AdamW", ml_dtypes.bfloat16, {"master_weights": True, "ema_decay": 0.9})
add("noise", step, "AdamW", ml_dtypes.bfloat16, {"stochastic_rounding": 1})
for name, dtype in itertools.product(("LAMB", "LARS"), DTYPES):
    add(f"{name} {dtype}", step, name, dtype, {})
for (kind, shape), dtype, layout, axis in itertools.product(SHAPES.items(), DTYPES, LAYOUTS, (1, -1)):
    x, what = LAYOUTS[layout](np.resize(VALUES, shape).astype(dtype)), f"{kind} {dtype} {layout} {axis}"
    for norm in NORMS:
        if norm != "group_norm" or shape[axis] % 2 == 0:
            add(f"{norm} {what}", normalise, norm, x, {"axis": axis, **({"groups": 2} if norm == "group_norm" else {})})
    add(f"residual {what}", lambda x: fastopt.residual_add(x, x[..., ::-1], activation="relu"), x)
    add(f"dropout {what}", lambda x: fastopt.dropout_forward(x, p=0.5, seed=1), x)
    add(f"init {what}", fill, x)
for dtype, layout in itertools.product(DTYPES, LAYOUTS):
    x, what = LAYOUTS[layout](VALUES.astype(dtype)), f"{dtype} {layout}"
    for scaler in (StandardScaler, MinMaxScaler):
        for features in (5, 80):
            add(f"{scaler.__name__} {features} {what}", lambda x, s: s().fit(x).transform(x), x[:, :features], scaler)
    if dtype != ml_dtypes.bfloat16:
        add(f"whitening {what}", lambda x: Whitener(eps=1.0).fit(x).transform(x), x[:, :5])
    add(f"batches {what}", lambda x: [b.copy() for b in fastopt.minibatches(x, batch_size=7, seed=1)], x)
    add(f"moments {what}", lambda x: DatasetStatistics(80).update(x), x)


def bits(found: Any) -> bytes:
    if isinstance(found, (list, tuple)):
        return b"".join(map(bits, found))
    return b"" if found is None else np.ascontiguousarray(found).tobytes()


def run_with(stack: int, function: Callable[[], Any]) -> list[bytes]:
    results: list[bytes] = []
    threading.stack_size(stack)
    thread = threading.Thread(target=lambda: results.append(bits(function())))
    thread.start()
    thread.join()
    return results


if __name__ == "__main__":
    pretend_cpu_limit(int(sys.argv[1]))
    for name, function in CALLS.items():
        print(name, flush=True)
        wanted = run_with(0, function)
        assert wanted, name
        assert run_with(65536, function) == wanted, name
    print("all", len(CALLS))
