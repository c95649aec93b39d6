"""Generates the Python module from which Numba's CUDA target compiles one random rule's kernel.

``LINEAR`` is the kernel of arrays that are contiguous in C order: a thread computes four adjacent elements, whose bits
are the words of one counter. Otherwise a thread finds one element by its axes, and uses one of four words.

The kernel's own names end in an underscore, or in one and a digit, or are those of `places`; no rule has such names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fastopt.specs.random import BITS

from ..parse import Function
from .kernel import PLACE, PLACES, Written, framed, loaded, stored
from .places import extents, find, strides
from .update import LINEAR

#: Elements that share one counter.
FOUR = 4

#: A copy that preserves the bits: it does no arithmetic, which would change some NaNs.
COPY = Function("copied", ("x",), (), (), "return x")

#: A grid-stride loop.
TURNS = """\
{variable} = {place}
stride_ = {places}
while {variable} < {count}:
    {loop}
    {variable} += stride_
"""


@dataclass(frozen=True)
class Random(Written):
    """A kernel of a rule over arrays of these storage types; ``axes`` may be LINEAR.

    The written array comes last: the simulator copies all arrays back in order, and two may be the same.
    """

    rule: Function
    storages: tuple[str, ...]
    dtype: str
    axes: int

    rules = "random"

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def bits(self) -> tuple[str, ...]:
        """The names of the rule's random bits."""
        return tuple(name for name in self.rule.arrays if name in BITS)

    @property
    def read(self) -> tuple[str, ...]:
        """The arrays that are read."""
        return tuple(name for name in self.rule.arrays if name not in BITS)

    @property
    def pointers(self) -> list[tuple[str, str]]:
        return list(zip((*self.read, "out"), self.storages, strict=True))

    @property
    def words(self) -> list[str]:
        """Indices, sizes and counters: a tweak is the third and the fourth word of a counter."""
        if self.axes == LINEAR:
            places = ["counters_", "whole_"]
        else:
            places = extents("r", self.axes) + strides("place", "r", self.axes)
            for name, _ in self.pointers:
                places += [f"{name}_start", *strides(name, "r", self.axes)]
        return ["count_", *places, *(["seed_"] if self.bits else []), *(f"{name}_tweak_" for name in self.bits)]

    @property
    def scalars(self) -> tuple[str, ...]:
        return self.rule.scalars

    @property
    def scalar_type(self) -> str:
        return self.dtype

    @property
    def numbers(self) -> Mapping[str, float]:
        return {"four": FOUR}

    def body(self) -> list[str]:
        if self.axes == LINEAR:
            variable, count, loop = "c_", "counters_", self._linear()
        else:
            variable, count, loop = "i_", "count_", self._strided()
        return framed(TURNS, variable=variable, count=count, loop=loop, place=PLACE, places=PLACES)

    def _linear(self) -> list[str]:
        """Threads take turns at counters; whole groups of four elements are loaded and stored together if aligned."""
        every = range(FOUR)
        loop = ["i_0 = c_ * four", *(f"i_{k} = i_{k - 1} + single" for k in every[1:])]
        if self.read:
            loop += ["if c_ < whole_:"]
            loop += [f"    {', '.join(f'{name}_{k}' for k in every)} = load_four({name}_, i_0)" for name in self.read]
            loop += ["else:"]
            loop += [f"    {name}_{k} = {name}_[min(i_{k}, count_ - single)]" for k in every for name in self.read]
        for name in self.bits:
            loop += [f"{', '.join(f'{name}_{k}' for k in every)} = draw(c_, {name}_tweak_, seed_)"]
        for k in every:
            loop += self._element(k)
        loop += ["if c_ < whole_:", f"    store_four(out_, i_0, {', '.join(f'out_{k}' for k in every)})", "else:"]
        loop += ["    out_[i_0] = out_0"]
        loop += [f"    {line}" for k in every[1:] for line in (f"if i_{k} < count_:", f"    out_[i_{k}] = out_{k}")]
        return loop

    def _strided(self) -> list[str]:
        """Threads take turns at elements, in the order of the axes."""
        places = [(name, f"{name}_at_", f"{name}_start") for name, _ in self.pointers]
        loop = find("i_", "r", self.axes, [*places, ("place", "place_", "none")])
        loop += [f"{name}_0 = {name}_[{name}_at_]" for name in self.read]
        loop += [f"{name}_0 = draw_one(place_, {name}_tweak_, seed_)" for name in self.bits]
        return [*loop, *self._element(0), "out_[out_at_] = out_0"]

    def _element(self, k: int) -> list[str]:
        """The rule's body for a thread's k-th element, with conversions from and to the storage types."""
        *read, out = self.storages
        lines = [f"{name} = {name}_{k}" for name in self.bits]
        for name, storage in zip(self.read, read, strict=True):
            lines += [f"{name} = {loaded(f'{name}_{k}', storage, self.dtype)}"]
        lines += re.sub(r"^return ", "number_ = ", self.rule.body, flags=re.M).splitlines()
        return [*lines, f"out_{k} = {stored('number_', out, self.dtype)}"]
