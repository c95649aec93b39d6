"""The parameters of ResNet-50: 161 tensors, from 64 elements to 2.4 million.

K. He et al., "Deep Residual Learning for Image Recognition", 2015, table 1; as in torchvision.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

Shape = tuple[int, ...]

#: For each stage: its blocks, and their inner channels; a block's result has EXPANSION times as many.
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
EXPANSION = 4
CLASSES = 1000


def resnet50() -> list[Shape]:
    """Return the shapes of the parameters, in the order of the network."""
    return list(_network())


def _network() -> Iterator[Shape]:
    yield from _convolution(3, 64, 7)
    channels = 64
    for blocks, width in STAGES:
        for block in range(blocks):
            yield from _convolution(channels, width, 1)
            yield from _convolution(width, width, 3)
            yield from _convolution(width, EXPANSION * width, 1)
            if block == 0:  # the shortcut, if channels change
                yield from _convolution(channels, EXPANSION * width, 1)
            channels = EXPANSION * width
    yield CLASSES, channels
    yield (CLASSES,)


def _convolution(inputs: int, outputs: int, size: int) -> Iterator[Shape]:
    """Yield a convolution's weight, and the weight and bias of the following batch norm."""
    yield outputs, inputs, size, size
    yield (outputs,)
    yield (outputs,)


RESNET50 = resnet50()

assert len(RESNET50) == 161
assert sum(map(prod, RESNET50)) == 25_557_032
