"""Writes the Python module from which Numba's CUDA target compiles one random rule's kernel.

Of four elements that stand together in C order, whose bits are one counter's words, a thread makes all: ``LINEAR`` is
the kernel of arrays that are one contiguous run in that order. Elsewhere a thread finds an element along a number of
axes, and draws four words for the one that it uses.

As in codegen/cuda/update.py, indices are 64 bits and unsigned, and there is no number in the text: what `NAMES` lists
are globals. The kernels' own names end in an underscore, or in one and a digit, or are those of `cuda_places`: no name
of a rule is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastopt.specs.random import BITS

from ..parse import Function
from .places import extents, find, strides
from .update import LINEAR

#: Elements whose bits are one counter's.
FOUR = 4

#: Numbers that the text goes by.
NAMES = {"none": 0, "single": 1, "four": FOUR}

#: What makes an array of another with the same bits, whatever they mean: no arithmetic, which would change some.
COPY = Function("copied", ("x",), (), (), "return x")

HEADER = '''\
"""Generated from fastopt/rules/random.py by fastopt/codegen/cuda/random.py: change those, not this."""
'''


@dataclass(frozen=True)
class Random:
    """A kernel of a rule over arrays stored like this; ``axes`` may be LINEAR.

    What is written comes last: the simulator copies every array, and back in this order, and two may be one.
    """

    rule: Function
    storages: tuple[str, ...]
    dtype: str
    axes: int

    @property
    def bits(self) -> tuple[str, ...]:
        """What the rule calls its random bits."""
        return tuple(name for name in self.rule.arrays if name in BITS)

    @property
    def read(self) -> tuple[str, ...]:
        """The arrays that are read."""
        return tuple(name for name in self.rule.arrays if name not in BITS)

    @property
    def arrays(self) -> tuple[str, ...]:
        """All arrays: pointers to them have an underscore behind the name."""
        return (*self.read, "out")

    @property
    def words(self) -> list[str]:
        """Names of the indices, sizes and counters: a tweak is the third word of a counter and the fourth."""
        if self.axes == LINEAR:
            places = ["counters_", "whole_"]
        else:
            places = extents("r", self.axes) + strides("place", "r", self.axes)
            for name in self.arrays:
                places += [f"{name}_start", *strides(name, "r", self.axes)]
        return ["count_", *places, *(["seed_"] if self.bits else []), *(f"{name}_tweak_" for name in self.bits)]

    def text(self) -> str:
        """The module."""
        arguments = ", ".join([*(f"{name}_" for name in self.arrays), *self.words, *self.rule.scalars])
        lines = self._linear() if self.axes == LINEAR else self._strided()
        return f"{HEADER}\n\ndef kernel({arguments}):\n" + "".join(f"    {line}\n" for line in lines)

    def _linear(self) -> list[str]:
        """Threads take turns at counters; the elements of whole ones go by fours, if they are aligned."""
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
        return self._turns("c_", "counters_", loop)

    def _strided(self) -> list[str]:
        """Threads take turns at elements, in the order of the axes."""
        places = [(name, f"{name}_at_", f"{name}_start") for name in self.arrays]
        loop = find("i_", "r", self.axes, [*places, ("place", "place_", "none")])
        loop += [f"{name}_0 = {name}_[{name}_at_]" for name in self.read]
        loop += [f"{name}_0 = draw_one(place_, {name}_tweak_, seed_)" for name in self.bits]
        loop += [*self._element(0), "out_[out_at_] = out_0"]
        return self._turns("i_", "count_", loop)

    def _turns(self, variable: str, count: str, loop: list[str]) -> list[str]:
        return [
            f"{variable} = index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x)",
            "stride_ = index(cuda.gridDim.x) * index(cuda.blockDim.x)",
            f"while {variable} < {count}:",
            *(f"    {line}" for line in [*loop, f"{variable} += stride_"]),
        ]

    def _element(self, k: int) -> list[str]:
        """The rule's body for a thread's k-th element, from what is stored to what will be."""
        *read, out = self.storages
        lines = [f"{name} = {name}_{k}" for name in self.bits]
        for name, storage in zip(self.read, read, strict=True):
            lines += [f"{name} = {self._converted('load', storage, f'{name}_{k}')}"]
        lines += re.sub(r"^return ", "number_ = ", self.rule.body, flags=re.M).splitlines()
        return [*lines, f"out_{k} = {self._converted('store', out, 'number_')}"]

    def _converted(self, how: str, storage: str, value: str) -> str:
        return value if storage == self.dtype else f"{how}_{storage}({value})"
