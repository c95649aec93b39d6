"""The array of a scaler, the expected results, and the memory traffic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.workload import PATTERN, Arrays, Workload

FIT, TRANSFORM = "fit", "transform"

#: Samples of a trial
TRIAL = 16_384


@dataclass(frozen=True, eq=False)
class ScalingWorkload(Workload):
    """A scaler (StandardScaler, MinMaxScaler or MaxAbsScaler) that is fitted to x or transforms it."""

    scaler: str
    action: str
    samples: int
    features: int
    storage: str = "float32"

    @property
    def name(self) -> str:  # type: ignore[override]
        """The scaler and the operation."""
        return f"{self.scaler} {self.action}"

    @property
    def shape(self) -> str:  # type: ignore[override]
        """The shape as text."""
        return f"{self.samples}x{self.features}"

    @property
    def elements(self) -> int:  # type: ignore[override]
        """The number of elements of x."""
        return self.samples * self.features

    @property
    def bytes(self) -> int:
        """A fit reads x; a transform also writes it."""
        return self.elements * np.dtype(self.storage).itemsize * (1 if self.action == FIT else 2)

    def make_arrays(self) -> Arrays:
        """Return x, whose values remain similar after repeated transforms."""
        pattern = np.random.default_rng(0).standard_normal(min(self.elements, PATTERN))
        pattern /= abs(pattern).max() if self.scaler == "MaxAbsScaler" else 1
        return {"x": np.resize(pattern.astype(self.storage), (self.samples, self.features))}

    def trial(self) -> ScalingWorkload:
        """Return the same workload with fewer samples."""
        return replace(self, samples=min(self.samples, TRIAL))

    def expected(self, arrays: Arrays) -> Arrays:
        """Return the formula's result in float64: two vectors of a fit, or x."""
        x = arrays["x"].astype(np.float64)
        mean, std, low, high = x.mean(0), x.std(0), x.min(0), x.max(0)
        largest = np.maximum(abs(low), abs(high))
        if self.action == FIT:
            first, second = {
                "StandardScaler": (mean, std**2),
                "MinMaxScaler": (low, high),
                "MaxAbsScaler": (largest, largest),
            }[self.scaler]
            return {"first": first, "second": second}
        return {
            "StandardScaler": {"x": (x - mean) / std},
            "MinMaxScaler": {"x": (x - low) / (high - low)},
            "MaxAbsScaler": {"x": x / largest},
        }[self.scaler]
