"""Generates the Python module from which Numba's CUDA target compiles one rule's kernel.

A thread loads several elements of every array, then computes, then stores, so that enough loads are in flight to
saturate the memory system. (Each element but the first has a condition of its own: otherwise the compiler would move
loads to their first use.) A rule has three kernels for different locations of elements:

* ``LINEAR``: one tensor with contiguous arrays;
* ``LIST``: many such tensors, divided into chunks for which blocks take turns; a table of pointers is on the device;
* a number of at least 1: one tensor with this number of axes, and a stride of each array along each of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..numba.update import inlined
from ..parse import SHARED_SCALARS, VARIANTS, Function, parse_functions, source_of
from .kernel import Written, header, loaded, stored

LINEAR, LIST = 0, -1

#: Elements of a chunk, the part of one tensor that a block processes at a time.
CHUNK = 16384

#: Words that a launch writes to memory: a kernel's arguments have at most 4,096 bytes, 8 of them for the address.
WORDS = 510


def unroll(narrays: int) -> int:
    """Elements of each array that a thread loads at a time.

    A thread of Adam then has 32 bytes in flight and 32 registers, so that 2,048 threads fit on a multiprocessor; with 4
    elements it would have 64 bytes and 62 registers, and half the threads would fit.
    """
    return 4 if narrays <= 3 else 2


class Kernel(NamedTuple):
    """The key of a kernel: rule, variant, storage types and location of elements. It has the attributes of `Written`.

    It is not a subclass: a tuple is hashed faster, and every launch needs the hash.
    """

    rule: Callable[..., Any]
    variant: int
    storages: tuple[str, ...]
    dtype: str
    axes: int
    #: Scalars are read from memory through one pointer, not passed as arguments.
    from_memory: bool = False

    @property
    def name(self) -> str:
        return self.rule.__name__

    @property
    def signature(self) -> list[str]:
        pointers, words = [f"{storage}*" for storage in self.storages], ["word"]
        if self.axes == LIST:
            pointers, words = [f"{pointer}*" for pointer in pointers], ["word*", "word*", "word", "word"]
        elif self.axes != LINEAR:
            words *= self.axes + len(pointers) * (self.axes + 1)
        if self.from_memory:
            return [*pointers, *words, f"{self.dtype}*"]
        parameters = inspect.signature(self.rule).parameters.values()
        own = [each.name for each in parameters if each.kind is not each.POSITIONAL_ONLY]
        return [*pointers, *words, *[self.dtype] * len({*SHARED_SCALARS, *own})]

    @property
    def numbers(self) -> Mapping[str, float]:
        return {"unroll": unroll(len(self.storages)), "chunk": CHUNK}

    def text(self) -> str:
        functions = parse_functions(source_of(self.rule))
        rule = functions[self.rule.__name__]
        gradient, descent = (functions[name] for name in VARIANTS[self.variant])
        writer = _Writer(_told_apart(rule), self)
        kernel = {LINEAR: writer.linear, LIST: writer.list}.get(self.axes, writer.strided)
        own = inlined("gradient", gradient), inlined("descend", descent), inlined("rule_", rule)
        return "\n\n".join([header("update"), *own, kernel()])


@dataclass(frozen=True)
class Scalars(Written):
    """The kernel that computes an update's scalars from numbers on the device (`fastopt.device.coefficients`)."""

    #: For each scalar: an expression, or None if the host knows it.
    texts: tuple[str | None, ...]
    #: The names of the numbers, and their storage types.
    given: tuple[tuple[str, str], ...]
    constants: int
    dtype: str

    rules = "update"

    @property
    def pointers(self) -> list[tuple[str, str]]:
        return [*self.given, ("scalars", self.dtype)]

    @property
    def scalars(self) -> tuple[str, ...]:
        values = [f"v{i}" for i, text in enumerate(self.texts) if text is None]
        return *values, *(f"c{i}" for i in range(self.constants))

    def body(self) -> list[str]:
        lines = [f"{name} = real64({name}_[none])" for name, _ in self.given]
        return lines + [f"scalars_[{i}] = real({text or f'v{i}'})" for i, text in enumerate(self.texts)]


@dataclass(frozen=True)
class Words(Written):
    """The kernel that writes its arguments to memory: a launch copies its arguments."""

    dtype: str = "float32"  # not used

    rules = "update"

    @property
    def pointers(self) -> list[tuple[str, str]]:
        return [("words", "word")]

    @property
    def words(self) -> list[str]:
        return [f"w{i}" for i in range(WORDS)]

    def body(self) -> list[str]:
        return [f"words_[{i}] = {word}" for i, word in enumerate(self.words)]


def _told_apart(rule: Function) -> Function:
    """Return the rule with numbered state names, so that names derived from one array do not match another's."""
    state = (f"state{i}" for i in range(len(rule.arrays) - 2))
    return replace(rule, arrays=(*rule.arrays[:2], *state))


class _Writer:
    """Generates the kernels of one rule. Their own names begin or end with an underscore, unlike all names of rules."""

    def __init__(self, rule: Function, kernel: Kernel):
        self.rule, self.kernel = rule, kernel
        self.storage = dict(zip(rule.arrays, kernel.storages, strict=True))
        names = SHARED_SCALARS + rule.own_scalars
        read = "".join(f"    {name} = _scalars[{i}]\n" for i, name in enumerate(names) if kernel.from_memory)
        #: The last parameters of a kernel, and its first lines.
        self.scalars_given = f", {'_scalars' if kernel.from_memory else ', '.join(names)}):\n{read}"

    def linear(self) -> str:
        """One tensor: blocks take turns at ``unroll`` elements per thread."""
        return (
            f"def kernel({self._each('{0}_')}, _count{self.scalars_given}"
            f"    _step = index(cuda.blockDim.x)\n"
            f"    _i0 = index(cuda.blockIdx.x) * _step * unroll + index(cuda.threadIdx.x)\n"
            f"    _stride = index(cuda.gridDim.x) * _step * unroll\n"
            f"    while _i0 < _count:\n{self._elements(' ' * 8)}"
            f"        _i0 += _stride\n"
        )

    def list(self) -> str:
        """Many tensors: blocks take turns at chunks. A chunk belongs to the last tensor with a first chunk no later.

        It is found by bisection: with 161 tensors in 8 steps, for the 16,384 elements of a chunk. So the size of a
        table does not depend on the number of chunks. (Each tensor has a chunk, so chunk c's is among the first c + 1.
        If it were searched among all, the compiler would generate two kernels in one, one of them for a single tensor.)
        """
        pointers = "".join(f"        {name}_ = {name}s_[_t]\n" for name in self.rule.arrays)
        return (
            f"def kernel({self._each('{0}s_')}, _sizes, _firsts, _tensors, _chunks{self.scalars_given}"
            f"    _step = index(cuda.blockDim.x)\n"
            f"    _c = index(cuda.blockIdx.x)\n"
            f"    while _c < _chunks:\n"
            f"        _t = none\n"
            f"        _rest = min(_tensors, _c + single)\n"
            f"        while _rest > single:\n"
            f"            _half = _rest // (single + single)\n"
            f"            if _firsts[_t + _half] <= _c:\n"
            f"                _t += _half\n"
            f"            _rest -= _half\n"
            f"        _begin = (_c - _firsts[_t]) * chunk\n"
            f"        _count = min(_begin + chunk, _sizes[_t])\n{pointers}"
            f"        _i0 = _begin + index(cuda.threadIdx.x)\n"
            f"        while _i0 < _count:\n{self._elements(' ' * 12)}"
            f"            _i0 += _step * unroll\n"
            f"        _c += index(cuda.gridDim.x)\n"
        )

    def strided(self) -> str:
        """One tensor, with elements that are found axis by axis."""
        ndim = self.kernel.axes
        strides = [f"{name}_{what}_" for name in self.rule.arrays for what in ("start", *map(str, range(ndim)))]
        extents = [f"_extent{axis}" for axis in range(1, ndim)]
        lines = ["_rest = _i", *(f"{name}_at_ = {name}_start_" for name in self.rule.arrays)]
        for axis in range(ndim - 1, -1, -1):
            if axis:
                lines += [f"_k = _rest % _extent{axis}", f"_rest = _rest // _extent{axis}"]
            lines += [f"{name}_at_ += {'_k' if axis else '_rest'} * {name}_{axis}_" for name in self.rule.arrays]
        lines += [f"{name}_i_ = {self._loaded(name, f'{name}_at_')}" for name in self.rule.arrays]
        lines += [self._update("i")]
        lines += [self._store(name, f"{name}_at_", f"{name}_i_") for name in self.rule.written]
        body = "".join(f"        {line}\n" for line in lines)
        return (
            f"def kernel({self._each('{0}_')}, _count, {', '.join(extents + strides)}{self.scalars_given}"
            f"    _i = index(cuda.blockIdx.x) * index(cuda.blockDim.x) + index(cuda.threadIdx.x)\n"
            f"    _stride = index(cuda.gridDim.x) * index(cuda.blockDim.x)\n"
            f"    while _i < _count:\n{body}"
            f"        _i += _stride\n"
        )

    # ---- A thread's elements

    def _elements(self, indent: str) -> str:
        """The elements at _i0, _i0 + _step, ..., up to the end: all loads, then all arithmetic, then all stores."""
        count = unroll(len(self.rule.arrays))
        lines = [f"_i{k} = _i{k - 1} + _step" for k in range(1, count)]
        for k in range(count):
            if k:
                lines += [f"{name}_{k}_ = zero" for name in self.rule.arrays] + [f"if _i{k} < _count:"]
            lines += [f"{'    ' * bool(k)}{name}_{k}_ = {self._loaded(name, f'_i{k}')}" for name in self.rule.arrays]
        lines += [self._update(str(k)) for k in range(count)]
        for k in range(count):
            lines += [f"if _i{k} < _count:"] * bool(k)
            stores = (self._store(name, f"_i{k}", f"{name}_{k}_") for name in self.rule.written)
            lines += [f"{'    ' * bool(k)}{store}" for store in stores]
        return "".join(f"{indent}{line}\n" for line in lines)

    def _update(self, k: str) -> str:
        """The call of the rule with a thread's k-th elements."""
        values = {name: f"{name}_{k}_" for name in self.rule.arrays}
        values["grad"] = f"gradient({values[self.rule.arrays[0]]}, {values['grad']}, grad_scale, weight_decay)"
        results = ", ".join(f"{name}_{k}_" for name in self.rule.written)
        return f"{results} = rule_({', '.join([*values.values(), *self.rule.scalars])})"

    def _loaded(self, name: str, at: str) -> str:
        return loaded(f"{name}_[{at}]", self.storage[name], self.kernel.dtype)

    def _store(self, name: str, at: str, value: str) -> str:
        return f"{name}_[{at}] = {stored(value, self.storage[name], self.kernel.dtype)}"

    def _each(self, pattern: str) -> str:
        return ", ".join(pattern.format(name) for name in self.rule.arrays)
