"""What a device's benchmark works on beside the host's workloads: a plain copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.workload import PATTERN, Arrays, Workload


@dataclass(frozen=True, eq=False)
class CopyWorkload(Workload):
    """A copy that moves as many bytes as another workload has to: it reads the half of them and writes the half."""

    of: Workload

    @property
    def name(self) -> str:
        """That of the other."""
        return self.of.name

    @property
    def shape(self) -> str:
        """That of the other."""
        return self.of.shape

    @property
    def storage(self) -> str:
        """That of the other."""
        return self.of.storage

    @property
    def elements(self) -> int:
        """Those of the other."""
        return self.of.elements

    @property
    def bytes(self) -> int:
        """Those of the other."""
        return self.of.bytes

    def make_arrays(self) -> Arrays:
        """Return random bytes, and as many zeros."""
        pattern = np.random.default_rng(0).integers(1, 256, PATTERN, np.uint8)
        source = np.resize(pattern, self.bytes // 2)
        return {"source": source, "destination": np.zeros_like(source)}

    def trial(self) -> CopyWorkload:
        """Return the copy beside the other's trial."""
        return CopyWorkload(self.of.trial())

    def expected(self, arrays: Arrays) -> Arrays:
        """Return the source, twice."""
        return dict.fromkeys(arrays, arrays["source"])
