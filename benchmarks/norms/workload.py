"""The arrays of a norm, the expected results, and the memory traffic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import Any, TypeAlias

import numpy as np

from benchmarks.norms.norm import Norm
from benchmarks.workload import PATTERN, Arrays, Workload, numpy_dtype

#: One pass over the arrays: the names of those that are read, and of those that are written.
Pass: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]

#: Approximate number of elements of a trial: enough for two threads.
TRIAL = 1_000_000


@dataclass(frozen=True, eq=False)
class NormWorkload(Norm, Workload):
    """A norm on existing arrays, including those for its results."""

    def make_arrays(self) -> Arrays:
        """Return new arrays: results are NaN; the backward pass also has the arrays of its forward pass."""
        rng = np.random.default_rng(0)
        forward = replace(self, direction="forward") if self.direction == "backward" else self
        arrays = {name: self._random(rng, name) for name in forward.inputs}
        if self.direction == "backward":
            arrays["dy"] = self._random(rng, "dy")
            made = forward.compute({name: array.astype(np.float32) for name, array in arrays.items()})
            arrays |= {name: made[name].astype(self._dtype(name)) for name in self.inputs if name in made}
        return arrays | {name: np.full(self._sizes_of(name), np.nan, self._dtype(name)) for name in self.outputs}

    def compute(self, arrays: Arrays) -> Arrays:
        """Return the formula's results in the arrays' dtype."""
        made = self.formula(**{name: arrays[name] for name in self.inputs}, **self.hyperparameters)
        return self.named(made)

    def named(self, returned: Any) -> Arrays:
        """Return the results of a call by name."""
        returned = returned if isinstance(returned, (tuple, list)) else (returned,)
        return dict(zip(self.outputs, returned, strict=True))

    def trial(self) -> NormWorkload:
        """Return the same norm with fewer samples."""
        samples = min(self.sizes[0], max(2, TRIAL * self.sizes[0] // self.elements))
        return replace(self, sizes=(samples, *self.sizes[1:]))

    def expected(self, arrays: Arrays) -> Arrays:
        """Return the formula's results in float64, and the inputs, of which only running statistics have changed."""
        copies = {name: array.astype(np.float64) for name, array in arrays.items()}
        return copies | self.compute(copies)

    def magnitude(self, name: str) -> float:
        """The sum of n values of size 1 has size sqrt(n)."""
        return sqrt(self.elements / prod(self._sizes_of(name))) if name in ("dweight", "dbias") else 1.0

    def _random(self, rng: np.random.Generator, name: str) -> np.ndarray:
        sizes = self._sizes_of(name)
        pattern = rng.standard_normal(min(prod(sizes), PATTERN))
        if name in ("weight", "running_var"):
            pattern = 1 + abs(pattern)
        return np.resize(pattern.astype(self._dtype(name)), sizes)

    def _sizes_of(self, name: str) -> tuple[int, ...]:
        if name in ("mean", "rstd"):
            samples, channels = self.sizes[0], self.sizes[self.axis]
            return {
                "batch": (channels,),
                "layer": self.sizes[: self.axis],
                "instance": (samples, channels),
                "group": (samples, self.groups),
            }[self.norm]
        if name in ("weight", "bias", "running_mean", "running_var", "dweight", "dbias"):
            return self.sizes[self.axis :] if self.norm == "layer" else (self.sizes[self.axis],)
        return self.sizes

    def _dtype(self, name: str) -> np.dtype:
        """Return the dtype: weights and statistics are float32."""
        return numpy_dtype(self.storage) if self._sizes_of(name) == self.sizes else np.dtype(np.float32)

    # ---- Memory traffic

    @property
    def passes(self) -> list[Pass]:
        """Return the large arrays that are read and written, pass by pass.

        Statistics of a batch are known only after the whole array has been read, so that it is read again. A sample is
        still cached when its statistics are known.
        """
        if self.direction != "backward":
            reading: list[Pass] = [(("x",), ())]
            writing: Pass = (("x", "residual") if self.fused else ("x",), ("y",))
        elif self.fused:  # the residual's gradient is dy after relu, which is the input of all that follows
            reading, writing = [(("dy", "y", "x"), ("dresidual",))], (("dresidual", "x"), ("dx",))
        else:
            reading, writing = [(("dy", "x"), ())], (("dy", "x"), ("dx",))
        return [*(reading if self._statistics_of_batch else []), writing]

    @property
    def _statistics_of_batch(self) -> bool:
        return self.norm == "batch" and self.direction != "inference"

    @property
    def bytes(self) -> int:
        """The large arrays of all passes."""
        moved = [name for reads, writes in self.passes for name in (*reads, *writes)]
        return self.elements * sum(self._dtype(name).itemsize for name in moved)
