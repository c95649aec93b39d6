"""The axes of a norm's arrays: outer indices, groups, channels and space, with every array's strides along them.

As in the engine (``engine/norm/norm.h``), all kinds are one: elements have an outer index, a channel and a position in
space, and each statistic belongs to a group of channels of one outer index.
"""

from __future__ import annotations

from typing import NamedTuple

from fastopt.device.axes import Axis, count, merged, row_major
from fastopt.specs.sums import PART

#: The value of `Norm.groups` for a layer norm.
LAYER = -1

#: The arrays of x's shape, and those with one value per statistic. All others have one value per channel.
LIKE_X = ("x", "dy", "y", "residual", "out", "dresidual")
STATISTICS = ("mean", "rstd", "var", "running_mean", "running_var")


class Given(NamedTuple):
    """An array of a call: its name, its storage type, and its strides in elements."""

    name: str
    storage: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Norm(NamedTuple):
    """The properties of a call that determine its kernels: all but addresses and numbers."""

    #: "forward", "inference", "backward", "backward_inference", "addition" or "addition_backward".
    direction: str
    #: Bit 0: relu; bit 1: residual.
    variant: int
    dtype: str
    #: The role of each of x's axes: "outer", "channel" or "space".
    labels: tuple[str, ...]
    #: The number of statistics per outer index; LAYER: one, and channels may have several axes.
    groups: int
    arrays: tuple[Given, ...]
    device: int
    #: Whether the running variance is unbiased.
    unbiased: bool


class NormAxes:
    """A norm's axes and derived numbers, as in ``plan_norm`` of ``engine/norm/plan.c``."""

    def __init__(self, norm: Norm):
        self.norm = norm
        self.given = {each.name: each for each in norm.arrays}
        self.outer: list[Axis] = []
        self.group: list[Axis] = []
        self.members: list[Axis] = []
        self.space: list[Axis] = []
        self.read_axes()
        self.channels = [*self.group, *self.members]
        self.statistics = [*self.outer, *self.group]
        self.per_group = count(self.members)
        self.values = self.per_group * count(self.space)
        self.samples = count(self.space) == 1 and self.per_group > 1
        self.parts = -(-count(self.members if self.samples else self.space) // PART)
        self.elements = count([*self.outer, *self.channels, *self.space])

    def read_axes(self) -> None:
        """Sort x's axes by role, with every array's strides along them."""
        features = 0
        for i, (label, extent) in enumerate(zip(self.norm.labels, self.norm.arrays[0].shape, strict=True)):
            strides = {name: self.given[name].strides[i] for name in LIKE_X if name in self.given}
            if label == "space":
                self.space.append(Axis(extent, strides))
            elif label == "outer":
                self.outer.append(Axis(extent, self.with_statistics(strides, len(self.outer))))
            else:
                strides.update(self.channel_strides(features))
                features += 1
                if self.norm.groups == LAYER:
                    self.members.append(Axis(extent, strides))
                else:
                    self.split(extent, strides)
        numbered = row_major([*self.outer, *self.group], "statistic")
        self.outer, self.group = numbered[: len(self.outer)], numbered[len(self.outer) :]

    def channel_strides(self, feature: int) -> dict[str, int]:
        """Return strides of the arrays with one value per channel; in a layer norm, along all feature axes."""
        others = (each for each in self.norm.arrays if each.name not in (*LIKE_X, *STATISTICS))
        return {each.name: each.strides[feature] for each in others}

    def with_statistics(self, strides: dict[str, int], position: int) -> dict[str, int]:
        """Return the strides of the arrays with one value per statistic, and of x's first value, the centre."""
        own = {name: self.given[name].strides[position] for name in STATISTICS if name in self.given}
        return {**strides, **own, "centre": strides["x"]}

    def split(self, channels: int, strides: dict[str, int]) -> None:
        """Split the channel axis into an axis of groups and one of each group's channels."""
        per_group = channels // self.norm.groups if self.norm.groups else 1
        far = {name: stride * per_group for name, stride in strides.items()}
        self.group.append(Axis(self.norm.groups, self.with_statistics(far, len(self.outer))))
        self.members.append(Axis(per_group, strides))

    def runs_across(self) -> bool:
        """True if channels are closer together in memory than positions in space."""
        across, along = (merged(axes, ["x"])[-1] for axes in (self.channels, self.space))
        if across.extent == 1 or along.extent == 1:
            return along.extent == 1 and across.extent > 1
        return abs(across.stride("x")) < abs(along.stride("x"))
