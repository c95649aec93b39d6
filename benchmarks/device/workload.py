"""What a device's benchmark works on beside the host's workloads: a list of tensors, and a plain copy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import prod

import numpy as np

from benchmarks.device.resnet import Shape
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.workload import PATTERN, Arrays, Workload
from tests.cases import Case

#: Elements of the largest tensor in the trial of a list: more than fastopt gives to one block.
LARGEST_OF_TRIAL = 20_000


@dataclass(frozen=True, eq=False)
class ListWorkload(UpdateWorkload):
    """An update of many tensors at once, which stand one behind the other in memory."""

    shapes: tuple[Shape, ...] = ()

    @classmethod
    def of(cls, case: Case, shapes: list[Shape]) -> ListWorkload:
        """Return the update of tensors of these shapes."""
        return cls(case, sum(map(prod, shapes)), shapes=tuple(shapes))

    @property
    def shape(self) -> str:
        """How many there are."""
        return f"{len(self.shapes)} tensors"

    def tensors(self, arrays: Arrays) -> list[Arrays]:
        """Return the arrays of each tensor."""
        places = pairwise(accumulate(map(prod, self.shapes), initial=0))
        return [
            {name: array[begin:end].reshape(shape) for name, array in arrays.items()}
            for shape, (begin, end) in zip(self.shapes, places, strict=True)
        ]

    def trial(self) -> ListWorkload:
        """Return as many tensors, of which none is large."""
        shapes = tuple((min(prod(shape), LARGEST_OF_TRIAL),) for shape in self.shapes)
        return replace(self, elements=sum(map(prod, shapes)), shapes=shapes)


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
