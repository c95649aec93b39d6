"""An update of many tensors, with the shapes of models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import prod

from benchmarks.models.resnet import RESNET50, Shape
from benchmarks.updates.workload import UpdateWorkload
from benchmarks.workload import Arrays
from tests.cases import BY_NAME, Case

#: Elements of the largest tensor in the trial of a list: more than one block of fastopt's kernel processes.
LARGEST_OF_TRIAL = 20_000


@dataclass(frozen=True, eq=False)
class ListWorkload(UpdateWorkload):
    """An update of many tensors at once, which are contiguous in memory."""

    shapes: tuple[Shape, ...] = ()
    #: The name of the model
    model: str = ""

    @classmethod
    def of(cls, case: Case, shapes: list[Shape], model: str = "") -> ListWorkload:
        """Return the update of tensors with these shapes."""
        return cls(case, sum(map(prod, shapes)), shapes=tuple(shapes), model=model)

    @property
    def shape(self) -> str:
        """The model's name, or the number of tensors."""
        return self.model or f"{len(self.shapes)} tensors"

    def tensors(self, arrays: Arrays) -> list[Arrays]:
        """Return the arrays of each tensor."""
        places = pairwise(accumulate(map(prod, self.shapes), initial=0))
        return [
            {name: array[begin:end].reshape(shape) for name, array in arrays.items()}
            for shape, (begin, end) in zip(self.shapes, places, strict=True)
        ]

    def trial(self) -> ListWorkload:
        """Return the same number of small tensors."""
        shapes = tuple((min(prod(shape), LARGEST_OF_TRIAL),) for shape in self.shapes)
        return replace(self, elements=sum(map(prod, shapes)), shapes=shapes)


def gpt2_small() -> list[Shape]:
    """Return the shapes of GPT-2 small: 148 tensors, 124 million parameters (A. Radford et al., 2019)."""
    width, layers, words, places = 768, 12, 50_257, 1_024
    block = [(width,), (width,), (width, 3 * width), (3 * width,), (width, width), (width,)]
    block += [(width,), (width,), (width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    return [(words, width), (places, width), *block * layers, (width,), (width,)]


#: A policy with two hidden layers, for reinforcement learning
POLICY: list[Shape] = [(64, 64), (64,), (64, 64), (64,), (64, 4), (4,)]

SMALL_TENSORS: list[Shape] = [(64,)] * 2000

MODELS = {
    shape: ListWorkload.of(BY_NAME["adamw"], shapes, shape)
    for shape, shapes in {
        "RL policy": POLICY,
        "2000 x 64": SMALL_TENSORS,
        "ResNet-50": RESNET50,
        "GPT-2 small": gpt2_small(),
    }.items()
}
