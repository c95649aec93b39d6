"""One row for each norm, plain and fused; all generic tests of norms use them."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

import fastopt
from fastopt.reference import norm as norm_reference
from tests.support import Arrays

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype("float16"), BFLOAT16, np.dtype("float32"), np.dtype("float64")]

EPS = 1e-5


@dataclass(frozen=True)
class NormCase:
    """A norm with its axis, in training or (batch norm only) in inference, and what is fused with it."""

    name: str
    norm: str
    axis: int
    inference: bool = False
    residual: bool = False
    activation: str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The arrays of the forward pass; batch norm updates the running statistics in training."""
        running = ("running_mean", "running_var") if self.norm == "batch" else ()
        return ("x", "weight", "bias", *running, "residual")

    @property
    def made_forward(self) -> tuple[str, ...]:
        """What the forward pass returns."""
        return ("y",) if self.inference else ("y", "mean", "rstd")

    @property
    def made_backward(self) -> tuple[str, ...]:
        """What the backward pass returns."""
        return ("dx", "dweight", "dbias", *(["dresidual"] if self.residual else []))

    @property
    def updated(self) -> tuple[str, ...]:
        """The arrays that the forward pass updates."""
        return () if self.inference or self.norm != "batch" else ("running_mean", "running_var")

    def shape(self, channels_first: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape (N, C, ...) with the channels at the case's axis."""
        samples, channels, *space = channels_first
        return (samples, channels, *space) if self.norm == "layer" or self.axis == 1 else (samples, *space, channels)

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of weight and bias."""
        return shape[self.axis :] if self.norm == "layer" else (shape[self.axis],)

    def make_arrays(self, channels_first: tuple[int, ...], dtype: Any = np.float32, seed: int = 0) -> Arrays:
        """Return the arrays of a forward pass, and dy; weights and statistics are float32, or float64 as x."""
        rng = np.random.default_rng(seed)
        shape = self.shape(channels_first)
        arrays = {name: np.array(rng.standard_normal(shape)).astype(dtype) for name in ("x", "dy", "residual")}
        arrays["x"] = (3 + 2 * arrays["x"].astype("f8")).astype(dtype)
        if not self.residual:
            del arrays["residual"]
        for name in self.inputs[1:-1]:
            values = rng.standard_normal(self.parameter_shape(shape))
            values = 1 + np.abs(values) if name == "running_var" else values
            arrays[name] = values.astype("f8" if np.dtype(dtype) == "f8" else "f4")
        return arrays

    def options(self, x: np.ndarray) -> dict[str, Any]:
        """Return the hyperparameters of both passes."""
        groups = {"groups": groups_of(x.shape[self.axis])} if self.norm == "group" else {}
        return {"axis": self.axis, "activation": self.activation, **groups}

    def forward(self, arrays: Arrays, library: ModuleType = fastopt, **options: Any) -> Arrays:
        """Run the forward pass of fastopt or of the reference; return its results and the running statistics."""
        # Not by getattr: Python 3.12 keeps each name that it is given.
        function = vars(library)[f"{self.norm}_norm_{'inference' if self.inference else 'forward'}"]
        given = {name: arrays.get(name) for name in self.inputs}
        training = {"momentum": 0.25, "unbiased": True} if self.updated else {}
        returned = function(**{**given, **self.options(arrays["x"]), "eps": EPS, **training, **options})
        made = dict(zip(self.made_forward, returned if isinstance(returned, tuple) else (returned,), strict=True))
        return made | {name: arrays[name] for name in self.updated if name in arrays}

    def backward(self, arrays: Arrays, made: Arrays, library: ModuleType = fastopt, **options: Any) -> Arrays:
        """Run the backward pass after a forward pass that made y, mean and rstd."""
        function = vars(library)[f"{self.norm}_norm_backward{'_inference' if self.inference else ''}"]
        given = {name: arrays.get(name) for name in ("dy", "x", "weight")}
        if self.inference:
            given |= {"running_mean": arrays["running_mean"], "running_var": arrays["running_var"], "eps": EPS}
        else:
            given |= {"mean": made["mean"], "rstd": made["rstd"]}
        given |= {"y": made["y"] if self.activation else None, "residual": self.residual}
        returned = function(**{**given, **self.options(arrays["x"]), **options})
        return dict(zip(self.made_backward, returned, strict=True))

    def run(self, arrays: Arrays, **options: Any) -> Arrays:
        """Run both passes; return everything that they made."""
        made = self.forward(arrays, **options)
        return made | self.backward(arrays, made, **options)

    def expected(self, arrays: Arrays, made: Arrays) -> Arrays:
        """Return what the formulas make of arrays as they were before, and backward of what was made forward.

        In long double where that is wider than float64, so that float64 results can be judged.
        """
        arrays, made = (
            {name: array.astype(np.float64).astype(np.longdouble) for name, array in given.items()}
            for given in (arrays, made)
        )
        with np.errstate(all="ignore"):  # NaN and infinity are answers too
            forward = self.forward(arrays, norm_reference)
            return forward | self.backward(arrays, made, norm_reference)


def groups_of(channels: int) -> int:
    """Return the most groups, up to four, that divide the channels."""
    return max(groups for groups in range(1, 5) if channels % groups == 0)


ALONE = [
    NormCase("batch", "batch", 1),
    NormCase("batch-last", "batch", -1),
    NormCase("inference", "batch", 1, inference=True),
    NormCase("inference-last", "batch", -1, inference=True),
    NormCase("instance", "instance", 1),
    NormCase("instance-last", "instance", -1),
    NormCase("group", "group", 1),
    NormCase("group-last", "group", -1),
    NormCase("layer", "layer", 1),
    NormCase("layer-last", "layer", -1),
]
FUSED = [
    NormCase(f"{case.name}+{name}", case.norm, case.axis, case.inference, residual, activation)
    for case in ALONE
    for name, residual, activation in [("residual", True, None), ("relu", False, "relu"), ("both", True, "relu")]
]
CASES = ALONE + FUSED
#: Each norm alone, and with all that can be fused with it.
EXTREMES = [case for case in CASES if case.residual == (case.activation is not None)]

BY_NAME = {case.name: case for case in CASES}
