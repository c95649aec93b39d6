"""The additional workload of a device's benchmark: a plain copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.workload import PATTERN, Arrays, Workload


@dataclass(frozen=True, eq=False)
class CopyWorkload(Workload):
    """A copy that moves as many bytes as another workload: it reads half of them and writes half."""

    of: Workload

    @property
    def name(self) -> str:
        """The other workload's value."""
        return self.of.name

    @property
    def shape(self) -> str:
        """The other workload's value."""
        return self.of.shape

    @property
    def storage(self) -> str:
        """The other workload's value."""
        return self.of.storage

    @property
    def elements(self) -> int:
        """The other workload's value."""
        return self.of.elements

    @property
    def bytes(self) -> int:
        """The other workload's value."""
        return self.of.bytes

    def make_arrays(self) -> Arrays:
        """Return random bytes, and the same number of zeros."""
        pattern = np.random.default_rng(0).integers(1, 256, PATTERN, np.uint8)
        source = np.resize(pattern, self.bytes // 2)
        return {"source": source, "destination": np.zeros_like(source)}

    def trial(self) -> CopyWorkload:
        """Return the copy of the other workload's trial."""
        return CopyWorkload(self.of.trial())

    def expected(self, arrays: Arrays) -> Arrays:
        """Return the source twice."""
        return dict.fromkeys(arrays, arrays["source"])
