"""One row for each variant of each update; all generic tests and benchmarks use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

import fastopt
from fastopt.specs.updates import UPDATES, UpdateSpec

Hyperparameters = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A variant of an update: the function, its state arrays, and hyperparameters away from their defaults."""

    name: str
    update: Callable[..., None]
    state: tuple[str, ...] = ()
    fixed: Hyperparameters = field(default_factory=dict)
    #: The hyperparameters that change from step to step.
    of_step: Callable[[int], Hyperparameters] = lambda step: {}
    #: What state starts from, where it is not zero.
    start: dict[str, float] = field(default_factory=dict)
    #: True if a benchmark of all optimizers includes this row.
    benchmarked: bool = True
    #: The array that is written first.
    target: str = "param"

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of all arrays, the target and grad first."""
        return (self.target, "grad", *self.state)

    @property
    def written(self) -> tuple[str, ...]:
        """The names of the arrays that the update writes."""
        return (self.target, *self.state)

    def hyperparameters(self, step: int) -> Hyperparameters:
        """Return the keyword arguments of one step."""
        return {**self.fixed, **self.of_step(step)}

    def run(self, arrays: dict[str, Any], step: int = 1, **options: Any) -> None:
        """Make one step in place; ``options`` (backend, num_threads, other hyperparameters) go to the function."""
        self.update(**arrays, **{**self.hyperparameters(step), **options})

    def make_arrays(
        self, shape: int | tuple[int, ...], dtype: Any = np.float32, seed: int = 0, zero_state: bool = False
    ) -> dict[str, np.ndarray]:
        """Return arrays in the middle of a training (state of plausible size), or with the state of its start."""
        rng = np.random.default_rng(seed)
        nonnegative = UPDATES[self.update.__name__].nonnegative
        arrays = {name: np.array(rng.standard_normal(shape)).astype(dtype) for name in (self.target, "grad")}
        for name in self.state:
            if zero_state:
                arrays[name] = np.full(shape, self.start.get(name, 0.0), dtype)
            else:
                noise = np.array(rng.standard_normal(shape))
                arrays[name] = np.array(np.abs(noise) if name in nonnegative else 0.5 * noise).astype(dtype)
        if not zero_state and "grad_avg" in arrays:  # a mean of squares is at least the square of the mean
            arrays["square_avg"] = np.array(arrays["square_avg"] + arrays["grad_avg"] ** 2).astype(dtype)
        return arrays


def _step(step: int) -> Hyperparameters:
    return {"step": step}


def _nadam(step: int) -> Hyperparameters:
    counted = range(1, min(step, 3000) + 1)  # the product is 0 in float64 long before
    return {"step": step, "mu_product": prod(fastopt.nadam_mu(t) for t in counted)}


WD = {"weight_decay": 0.01}

CASES = [
    Case("sgd", fastopt.sgd, fixed={"lr": 0.1}),
    Case("sgd-decay", fastopt.sgd, fixed={"lr": 0.1, **WD}, benchmarked=False),
    Case("momentum", fastopt.momentum, ("velocity",), {"lr": 0.1, **WD}),
    Case("momentum-dampened", fastopt.momentum, ("velocity",), {"lr": 0.1, "dampening": 0.1, **WD}, benchmarked=False),
    Case("momentum-nesterov", fastopt.momentum, ("velocity",), {"lr": 0.1, "nesterov": True, **WD}),
    Case("momentum-average", fastopt.momentum, ("velocity",), {"lr": 0.1, "form": "average", **WD}, benchmarked=False),
    Case("momentum-step", fastopt.momentum, ("velocity",), {"lr": 0.1, "form": "step", **WD}, benchmarked=False),
    Case(
        "momentum-step-nesterov",
        fastopt.momentum,
        ("velocity",),
        {"lr": 0.1, "form": "step", "nesterov": True, **WD},
        benchmarked=False,
    ),
    Case("asgd", fastopt.asgd, ("average",), {"t0": 2, **WD}, _step),
    Case("accumulate", fastopt.accumulate, fixed={"alpha": 0.25, "beta": 0.5}, benchmarked=False, target="acc"),
    Case("accumulate-anew", fastopt.accumulate, fixed={"alpha": 0.25, "beta": 0}, benchmarked=False, target="acc"),
    Case("signum", fastopt.signum, ("m",), {"lr": 1e-2, **WD}),
    Case("lion", fastopt.lion, ("m",), {"lr": 1e-2, **WD}),
    Case("rprop", fastopt.rprop, ("prev_grad", "step_size"), start={"step_size": 0.01}),
    Case("adagrad", fastopt.adagrad, ("square_sum",), {"lr_decay": 0.01, **WD}, _step),
    Case("rmsprop", fastopt.rmsprop, ("square_avg",), {**WD}),
    Case("rmsprop-inside", fastopt.rmsprop, ("square_avg",), {"eps": 1e-3, "eps_inside_sqrt": True}, benchmarked=False),
    Case("rmsprop-centered", fastopt.rmsprop, ("square_avg", "grad_avg"), {"eps": 1e-2, **WD}),
    Case("rmsprop-momentum", fastopt.rmsprop, ("square_avg", "velocity"), {"momentum": 0.9, **WD}),
    Case(
        "rmsprop-centered-momentum",
        fastopt.rmsprop,
        ("square_avg", "grad_avg", "velocity"),
        {"eps": 1e-2, "momentum": 0.9, **WD},
    ),
    Case("adadelta", fastopt.adadelta, ("square_avg", "delta_avg"), {**WD}),
    Case("adam", fastopt.adam, ("m", "v"), {}, _step),
    Case("adam-decay", fastopt.adam, ("m", "v"), {**WD}, _step, benchmarked=False),
    Case("adam-uncorrected", fastopt.adam, ("m", "v"), {"bias_correction": False}, _step, benchmarked=False),
    Case("adam-amsgrad", fastopt.adam, ("m", "v", "v_max"), {**WD}, _step),
    Case("adamw", fastopt.adamw, ("m", "v"), {}, _step),
    Case("adamw-amsgrad", fastopt.adamw, ("m", "v", "v_max"), {}, _step, benchmarked=False),
    Case("adamax", fastopt.adamax, ("m", "u"), {**WD}, _step),
    Case("nadam", fastopt.nadam, ("m", "v"), {**WD}, _nadam),
    Case(
        "nadam-decoupled", fastopt.nadam, ("m", "v"), {"decoupled_weight_decay": True, **WD}, _nadam, benchmarked=False
    ),
    Case("radam", fastopt.radam, ("m", "v"), {**WD}, _step),
    Case(
        "radam-decoupled", fastopt.radam, ("m", "v"), {"decoupled_weight_decay": True, **WD}, _step, benchmarked=False
    ),
    Case("adabelief", fastopt.adabelief, ("m", "s"), {**WD}, _step),
    Case("yogi", fastopt.yogi, ("m", "v"), {**WD}, _step, start={"v": 1e-6}),
    Case("yogi-uncorrected", fastopt.yogi, ("m", "v"), {"bias_correction": False}, _step, benchmarked=False),
    Case("ademamix", fastopt.ademamix, ("m1", "m2", "v"), {**WD}, _step),
    Case("ademamix-warmup", fastopt.ademamix, ("m1", "m2", "v"), {"warmup": 100, **WD}, _step, benchmarked=False),
    Case("adan", fastopt.adan, ("m", "v", "n", "prev_grad"), {**WD}, _step),
]


def rows_of(spec: UpdateSpec) -> list[Case]:
    """Return a row for each variant of an update that has none above: those that differ by their state."""
    fixed = {"lr": 0.1} if "lr" in spec.hyperparameters else {}
    fixed |= WD if "weight_decay" in spec.hyperparameters else {}
    of_step = {"of_step": _step} if "step" in spec.hyperparameters else {}
    starts = {name: start for name, start in spec.starts.items() if isinstance(start, float)}
    states = dict.fromkeys(update.arrays[2:] for update in spec.updates.values())
    return [
        Case("-".join((spec.name, *(name for name in spec.optional if name in state))), spec.function, state, fixed,
             start=starts, **of_step)
        for state in states
    ]  # fmt: skip


_TESTED = {case.update.__name__ for case in CASES}
CASES += [case for spec in UPDATES.values() if spec.name not in _TESTED for case in rows_of(spec)]

BY_NAME = {case.name: case for case in CASES}
