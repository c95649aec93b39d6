"""Every function that computes, as a call on arrays that a test makes: what each promise of this folder is tested on.

A new function of a family that is here is covered by itself; a new family is a new function `_of_...` below.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt import augment, init, optim
from fastopt.norm import DatasetStatistics
from fastopt.scaling import MaxAbsScaler, MeanNormalizer, MinMaxScaler, StandardScaler, Whitener
from tests import cases, norm_cases, optim_cases
from tests.support import Arrays

Shape = tuple[int, ...]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(dtype) for dtype in ("float32", "float64", "float16", BFLOAT16)]


@dataclass(frozen=True)
class Call:
    """A call of one function: the arrays that it takes, and what it makes of them."""

    family: str
    name: str
    #: Returns arrays of a shape and dtype: what is read, and what results are written to.
    make: Callable[[Shape, Any], Arrays]
    #: Makes the call with these arrays and options; returns what it wrote and what it returned.
    run: Callable[..., Arrays]
    #: The names of the arrays that are written.
    written: tuple[str, ...] = ()
    #: The names of the arrays that may be None.
    optional: tuple[str, ...] = ()
    #: What errors call an array, where that is not its name here.
    shown: dict[str, str] = field(default_factory=dict)
    #: Pairs of arrays that may be one array.
    in_place: tuple[set[str], ...] = ()
    #: Shapes that are computed by one thread: each of the ways in which the engine divides its work.
    small: tuple[Shape, ...] = ((1, 1), (9, 5), (40, 33), (5, 1025))
    #: Shapes that several threads share.
    large: tuple[Shape, ...] = ((350, 401),)
    dtypes: tuple[np.dtype, ...] = tuple(DTYPES)
    backends: tuple[str, ...] = ("cython", "numba")
    #: False if the call takes other arrays than those of DTYPES.
    floating: bool = True


def rng_of(shape: Shape, seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, *shape])


def normal(shape: Shape, dtype: Any, seed: int = 0) -> np.ndarray:
    return np.array(rng_of(shape, seed).standard_normal(shape)).astype(dtype)


def _of_updates() -> Iterator[Call]:
    def call(case: cases.Case) -> Call:
        def run(arrays: Arrays, **options: Any) -> Arrays:
            case.run(arrays, 3, **options)
            return {name: arrays[name] for name in case.written}

        small = ((1,), (31,), (1023,), (1024,), (1025,), (40, 33), (3, 1, 5))
        large = ((100_003,), (350, 401))
        parameters = inspect.signature(case.update).parameters
        optional = tuple(name for name in case.state if parameters[name].default is None)
        return Call("updates", case.name, case.make_arrays, run, case.written, optional, small=small, large=large)

    yield from map(call, cases.CASES)


@fastopt.rule
def heavy_ball(param, grad, m, /, lr):  # type: ignore[no-untyped-def]
    m = 0.5 * m + grad
    return param - lr * m, m


def _of_rules() -> Iterator[Call]:
    def run(arrays: Arrays, **options: Any) -> Arrays:
        heavy_ball(*arrays.values(), lr=0.1, **options)
        return {name: arrays[name] for name in ("param", "m")}

    yield Call(
        "rules",
        "heavy_ball",
        lambda shape, dtype: {name: normal(shape, dtype, i) for i, name in enumerate(heavy_ball.arrays)},
        run,
        ("param", "m"),
        backends=("numba",),
    )


def _of_norms() -> Iterator[Call]:
    def known(arrays: Arrays) -> Arrays:
        """Return the arrays with an x whose channels can be counted: what is refused has 20 channels as a rule."""
        x = arrays["x"]
        return arrays if isinstance(x, np.ndarray) and x.ndim > 1 else {**arrays, "x": np.empty((6, 20))}

    def forward(case: norm_cases.NormCase) -> Call:
        def make(shape: Shape, dtype: Any) -> Arrays:
            arrays = case.make_arrays(shape, dtype)
            made = case.forward({name: array.copy() for name, array in arrays.items()}, num_threads=1)
            del arrays["dy"]
            return arrays | {name: np.full_like(made[name], 77) for name in case.made_forward}

        def run(arrays: Arrays, **options: Any) -> Arrays:
            out = tuple(arrays[name] for name in case.made_forward)
            made = case.forward(known(arrays), x=arrays["x"], out=out[0] if case.inference else out, **options)
            assert all(made[name] is arrays[name] for name in case.made_forward)
            return made

        return Call(
            "norms",
            f"{case.name} forward",
            make,
            run,
            (*case.made_forward, *case.updated),
            ("weight", "bias", "residual", *case.made_forward),
            {"y": "out"} if case.inference else {},
            **shapes,
        )

    def backward(case: norm_cases.NormCase) -> Call:
        statistics = ("running_mean", "running_var") if case.inference else ("mean", "rstd")
        read = ("x", "dy", "weight", *statistics, *(["y"] if case.activation else []))

        def make(shape: Shape, dtype: Any) -> Arrays:
            arrays = case.make_arrays(shape, dtype)
            arrays |= case.forward(arrays, num_threads=1)
            made = case.backward(arrays, arrays, num_threads=1)
            return {name: arrays[name] for name in read} | {
                name: np.full_like(made[name], 77) for name in case.made_backward
            }

        def run(arrays: Arrays, **options: Any) -> Arrays:
            out = tuple(arrays[name] for name in case.made_backward)
            made = case.backward(known(arrays), {"y": None, **arrays}, x=arrays["x"], out=out, **options)
            assert all(made[name] is arrays[name] for name in case.made_backward)
            return made

        return Call(
            "norms", f"{case.name} backward", make, run, case.made_backward, ("weight", *case.made_backward), **shapes
        )

    # Planes and rows below and above a block of 4096 bytes and a part of 2048 elements; channels of a cache line
    # and more.
    small = ((3, 4, 5, 6), (2, 3, 47, 46), (2, 300, 3, 3), (5, 2100), (70, 6), (1, 1), (17, 33), (64, 70, 1))
    small = (*small, (2, 35, 5, 3), (260, 50))
    # Whole groups of values in cache, or one pass after the other; many channels or few, long sets or short ones;
    # samples, or parts of them.
    large = ((4, 3, 200, 200), (2, 64, 56, 56), (600, 512), (70_000, 8), (2, 150_001), (33, 40, 9, 9), (9, 9_000))
    large = (*large, (3, 1, 1, 100_000), (2, 4_500, 3, 1))
    shapes: dict[str, Any] = {"small": small, "large": large}
    for case in norm_cases.EXTREMES:
        yield forward(case)
        yield backward(case)


def _of_residual_connections() -> Iterator[Call]:
    def add(activation: str | None) -> Call:
        def run(arrays: Arrays, **options: Any) -> Arrays:
            fastopt.residual_add(**arrays, activation=activation, **options)
            return {"out": arrays["out"]}

        names = ("x", "residual", "out")
        return Call(
            "residual",
            f"residual_add {activation}",
            lambda shape, dtype: {name: normal(shape, dtype, i) for i, name in enumerate(names)},
            run,
            ("out",),
            ("out",),
            in_place=({"x", "out"}, {"residual", "out"}),
        )

    def backward(arrays: Arrays, **options: Any) -> Arrays:
        fastopt.residual_add_backward(**arrays, activation="relu", **options)
        return {"out": arrays["out"]}

    yield add(None)
    yield add("relu")
    yield Call(
        "residual",
        "residual_add_backward",
        lambda shape, dtype: {name: normal(shape, dtype, i) for i, name in enumerate(("dy", "y", "out"))},
        backward,
        ("out",),
        ("out",),
        in_place=({"dy", "out"}, {"y", "out"}),
    )


def _of_dropout() -> Iterator[Call]:
    for function, x in ((fastopt.dropout_forward, "x"), (fastopt.dropout_backward, "dy")):

        def run(arrays: Arrays, *, function: Any = function, **options: Any) -> Arrays:
            function(**arrays, p=0.4, **KEY, **options)
            return {"out": arrays["out"]}

        yield Call(
            "random",
            function.__name__,
            lambda shape, dtype, x=x: {x: normal(shape, dtype), "out": normal(shape, dtype, 1)},
            run,
            ("out",),
            ("out",),
            in_place=({x, "out"},),
        )


KEY = {"seed": 0x123456789ABCDEF0, "offset": 0x00FEDCBA98765432}


def _of_initialisation() -> Iterator[Call]:
    def call(name: str, **options: Any) -> Call:
        function = getattr(init, name)

        def run(arrays: Arrays, **others: Any) -> Arrays:
            function(arrays["param"], **options, **KEY, **others)
            return arrays

        return Call("random", name, lambda shape, dtype: {"param": np.ones(shape, dtype)}, run, ("param",))

    options = {
        "normal_": {"mean": 0.5, "std": 2.0},
        "truncated_normal_": {"mean": 0.5, "std": 2.0, "bound": 1.5},
        "uniform_": {"low": -0.5, "high": 2.0},
    }
    for name in init.__all__:
        yield call(name, **options.get(name, {}))


def _of_augmentation() -> Iterator[Call]:
    """Noise, and what moves images: of other shapes than (N, C, H, W), each element is an image of 3 x 5 here."""

    def noise(*, uniform: bool) -> Call:
        def run(arrays: Arrays, **options: Any) -> Arrays:
            augment.noise_(arrays["x"], std=0.5, uniform=uniform, **KEY, **options)
            return arrays

        name = "uniform noise_" if uniform else "noise_"
        return Call("augment", name, lambda shape, dtype: {"x": normal(shape, dtype)}, run, ("x",))

    def images(name: str, axis: int, **how: Any) -> Call:
        def make(shape: Shape, dtype: Any) -> Arrays:
            x = normal(shape if len(shape) == 4 else (*shape, 3, 5), dtype)
            return {"x": x, "out": np.full_like(x, 77)}

        def run(arrays: Arrays, **options: Any) -> Arrays:
            getattr(augment, name)(**arrays, axis=axis, **how, **KEY, **options)
            return {"out": arrays["out"]}

        small, large = ((1, 1, 1, 1), (9, 3, 5, 4), (3, 8, 8, 2)), ((300, 3, 17, 32), (400, 20, 17, 3))
        shapes = {"small": small, "large": large}
        return Call("augment", f"{name} {axis}", make, run, ("out",), ("out",), backends=(), floating=False, **shapes)

    yield noise(uniform=False)
    yield noise(uniform=True)
    for axis in (1, -1):
        yield images("flip", axis, p=0.4)
        yield images("shift", axis, size=1, fill=0.5)


def _of_scaling() -> Iterator[Call]:
    def values(shape: Shape, dtype: Any) -> np.ndarray:
        x = (rng_of(shape).standard_normal(shape) * 3 + rng_of(shape, 1).standard_normal(shape[-1])).astype(dtype)
        x[:, ::3] = x[:, ::3].round()
        x.flat[::7] = -x.flat[::7]
        return x

    def with_nan(shape: Shape, dtype: Any) -> Arrays:
        x = values(shape, dtype)
        x.flat[5 :: x.size // 3 + 6] = np.nan
        return {"x": x}

    def fit(kind: Any) -> Call:
        def run(arrays: Arrays, **options: Any) -> Arrays:
            return {**vars(kind(nan="ignore", **options).fit(arrays["x"])._statistics)}

        return Call("scaling", f"{kind.__name__}.fit", with_nan, run, **shapes)

    def transform(kind: Any, name: str) -> Call:
        names = ("x",) if name.endswith("_") else ("x", "out")

        def make(shape: Shape, dtype: Any) -> Arrays:
            return with_nan(shape, dtype) | {each: np.full(shape, 77, dtype) for each in names[1:]}

        def run(arrays: Arrays, **options: Any) -> Arrays:
            """What is refused has 20 features as a rule, whatever it is."""
            features = arrays["x"].shape[1] if isinstance(arrays["x"], np.ndarray) and arrays["x"].ndim == 2 else 20
            scaler = kind(nan="ignore", **options).fit(values((9, features), np.float64))
            getattr(scaler, name)(**arrays)
            return {names[-1]: arrays[names[-1]]}

        return Call(
            "scaling", f"{kind.__name__}.{name}", make, run, names[-1:], ("out",), in_place=({"x", "out"},), **shapes
        )

    # Parts of samples, of which there is more than one, and stripes of features; rows that are joined, and long ones.
    large = ((70_001, 3), (4100, 70), (2049, 1), (300, 1000), (7, 70_000), (40_000, 8))
    shapes: dict[str, Any] = {"small": ((1, 1), (1, 9), (9, 1), (2500, 5), (100, 70), (7, 3000)), "large": large}
    for kind in (StandardScaler, MinMaxScaler, MeanNormalizer, MaxAbsScaler):
        yield fit(kind)
        for name in ("transform", "inverse_transform", "transform_", "inverse_transform_"):
            yield transform(kind, name)

    def whiten(arrays: Arrays, **options: Any) -> Arrays:
        whitener = Whitener(eps=1.0, **options).fit(arrays["x"])
        return {"out": whitener.transform(arrays["x"]), "mean": whitener.mean}

    shapes = {"small": ((9, 5), (300, 20)), "large": ((4100, 70), (70_001, 3)), "dtypes": tuple(DTYPES[:3])}
    yield Call("scaling", "Whitener", lambda shape, dtype: {"x": values(shape, dtype)}, whiten, backends=(), **shapes)


def _of_optimizers() -> Iterator[Call]:
    def model(shape: Shape, dtype: Any) -> Arrays:
        shapes = [shape, (9,), (5, 4, 30)]
        params = {f"param {i}": normal(each, dtype) for i, each in enumerate(shapes)}
        return params | {f"grad {i}": normal(each, dtype, 1) for i, each in enumerate(shapes)}

    def call(name: str, make: Callable[..., optim.Optimizer], **how: Any) -> Call:
        def run(arrays: Arrays, **options: Any) -> Arrays:
            params, grads = ([arrays[f"{kind} {i}"] for i in range(3)] for kind in ("param", "grad"))
            optimizer = make(params, **options)
            for _ in range(3):
                optimizer.step(grads, max_norm=5.0)
            made = {f"param {i}": param for i, param in enumerate(params)}
            for i in range(3):
                made |= {f"{key} {i}": array for key, array in optimizer.state[i].items()}
            return made

        written = tuple(f"param {i}" for i in range(3))
        return Call("optim", name, model, run, written, small=((33, 70),), large=((256, 270),), **how)

    for case in optim_cases.CASES:
        yield call(f"{type(optim_cases.make(case, [])).__name__} of {case.name}", partial(optim_cases.make, case))
    for name in ("LAMB", "LARS"):
        yield call(name, partial(getattr(optim, name), lr=0.1), backends=())
    for options in ({"master_weights": True, "ema_decay": 0.9}, {"stochastic_rounding": 1}):
        name = f"AdamW with {' and '.join(options)}"
        yield call(name, partial(optim.AdamW, **options), dtypes=(BFLOAT16,))


def _of_data() -> Iterator[Call]:
    def batches(arrays: Arrays, **options: Any) -> Arrays:
        made = fastopt.minibatches(arrays["x"], batch_size=1999, seed=1, **options)
        return {str(number): batch.copy() for number, batch in enumerate(made)}

    def moments(arrays: Arrays, **options: Any) -> Arrays:
        statistics = DatasetStatistics(np.shape(arrays["x"])[1], **options)
        statistics.update(arrays["x"])
        return {"mean": statistics.mean, "var": statistics.var()}

    def make(shape: Shape, dtype: Any) -> Arrays:
        return {"x": normal(shape, dtype)}

    yield Call("data", "minibatches", make, batches, large=((5000, 130), (9000, 7)), backends=(), floating=False)
    yield Call("data", "DatasetStatistics", make, moments, large=((70_001, 3), (4100, 70)), floating=False)


CALLS = [
    call
    for family in (
        _of_updates,
        _of_rules,
        _of_norms,
        _of_residual_connections,
        _of_dropout,
        _of_initialisation,
        _of_augmentation,
        _of_scaling,
        _of_optimizers,
        _of_data,
    )
    for call in family()
]
BY_NAME = {call.name: call for call in CALLS}
FAMILIES = list(dict.fromkeys(call.family for call in CALLS))

every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)


def digests(call: Call, shapes: tuple[Shape, ...], dtypes: int | None = None) -> list[str]:
    """Return what a call makes of arrays of these shapes, in two memory orders and the first so many dtypes."""
    made = []
    for shape in shapes:
        for dtype in call.dtypes[:dtypes]:
            for order in (np.ascontiguousarray, np.asfortranarray):
                arrays = {name: order(array) for name, array in call.make(shape, dtype).items()}
                results = call.run(arrays)
                made.append(sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in results.values())))
    return [each.hexdigest()[:16] for each in made]
