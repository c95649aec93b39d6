"""A norm: its function, shape, arguments and results."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import fastopt
from fastopt.reference import norm as norm_reference

#: Options of the public functions that do not affect results
NOT_OF_THE_FORMULA = {"out", "backend", "num_threads", "stream"}


@dataclass(frozen=True, eq=False)
class Norm:
    """A norm (batch, layer, instance or group) in one direction (forward, backward or inference)."""

    norm: str
    direction: str
    #: A letter for each axis, N for samples and C for channels: NC, NCHW or NHWC.
    layout: str
    sizes: tuple[int, ...]
    storage: str = "float32"
    #: With residual addition and relu
    fused: bool = False
    #: The number of groups of a group norm
    groups: int = 0

    @property
    def family(self) -> str:
        """The name of the norm."""
        return f"{self.norm}-norm"

    @property
    def name(self) -> str:
        """The norm, the operations fused with it, and the direction."""
        return f"{self.family}{' + add + relu' if self.fused else ''} {self.direction}"

    @property
    def shape(self) -> str:
        """The shape with its layout."""
        return f"{self.layout} {'x'.join(map(str, self.sizes))}"

    @property
    def elements(self) -> int:
        """The number of elements of each large array."""
        return prod(self.sizes)

    @property
    def axis(self) -> int:
        """The channel axis."""
        return self.layout.index("C")

    @property
    def function(self) -> Callable[..., Any]:
        """The public function."""
        return getattr(fastopt, f"{self.norm}_norm_{self.direction}")

    @property
    def formula(self) -> Callable[..., Any]:
        """The plain formula."""
        return getattr(norm_reference, f"{self.norm}_norm_{self.direction}")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the function's array arguments; running statistics are also updated in training."""
        if self.direction == "backward":
            return ("dy", "x", "weight", "mean", "rstd", *(["y"] if self.fused else []))
        running = ("running_mean", "running_var") if self.norm == "batch" else ()
        return ("x", "weight", "bias", *running, *(["residual"] if self.fused else []))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the arrays that the function returns."""
        if self.direction == "backward":
            return ("dx", "dweight", "dbias", *(["dresidual"] if self.fused else []))
        return ("y",) if self.direction == "inference" else ("y", "mean", "rstd")

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments that are not arrays."""
        options: dict[str, Any] = {"axis": self.axis}
        if self.groups:
            options["groups"] = self.groups
        if self.fused:
            options["activation"] = "relu"
            if self.direction == "backward":
                options["residual"] = True
        return options

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All keyword arguments of the formula: defaults, overridden by the options."""
        parameters = inspect.signature(self.function).parameters.values()
        return {
            parameter.name: self.options.get(parameter.name, parameter.default)
            for parameter in parameters
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in {*NOT_OF_THE_FORMULA, *self.inputs}
        }
