"""Plans a norm of device arrays: the sequence of kernels and their arguments.

Kernels process rows of elements. The plan defines the rows:

* for sums, a channel's space (`line`, or `columns` if neighbours in memory are channels); without space, a sample's
  features, and for dweight and dbias a feature's samples;
* for statistics, one statistic;
* for elements, contiguous elements in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from fastopt.codegen.cuda.norm import THREADS, Array, NormKernel
from fastopt.codegen.cuda.norm_elements import ColumnElements, Elements
from fastopt.codegen.cuda.norm_statistics import Fixed, Gradients, Moments, Totals
from fastopt.codegen.cuda.norm_sums import Sums
from fastopt.device.axes import ADDRESSES, Axis, count, merged, reach, words_of
from fastopt.device.norm_axes import Norm, NormAxes
from fastopt.device.select import machine
from fastopt.device.update import BLOCKS_PER_PROCESSOR
from fastopt.errors import BackendUnavailable
from fastopt.specs.dtypes import SIZES
from fastopt.specs.sums import GROUP, LANES, PART

#: The maximum size of a kernel's arguments on any device, in bytes.
MAX_ARGUMENTS = 4096

#: The alignment of each part of scratch memory, in bytes.
ALIGNMENT = 256

#: Threads of a warp.
WARP = 32


class Pointer(NamedTuple):
    """A pointer argument: the array, or scratch memory (""), the offset in bytes, and the storage type."""

    array: str
    offset: int
    storage: str
    elements: int


class Launch(NamedTuple):
    """A kernel with all its arguments except addresses and numbers."""

    kernel: NormKernel
    blocks: int
    threads: int
    pointers: tuple[Pointer, ...]
    words: tuple[int, ...]
    scalars: tuple[str, ...]


class Plan(NamedTuple):
    """The launches of a call, the size of their scratch memory, and the number of values of a statistic."""

    launches: tuple[Launch, ...]
    scratch: int
    values: int


class _Operand(NamedTuple):
    """An array of a kernel: its name there, the array that provides the memory, and the name of its strides."""

    name: str
    storage: str
    source: str
    base: str


@lru_cache(maxsize=256)
def plan(norm: Norm) -> Plan:
    """Return the launches of a call."""
    return _Planner(norm).plan()


class _Planner(NormAxes):
    def __init__(self, norm: Norm):
        super().__init__(norm)
        self.launches: list[Launch] = []
        self.scratch: dict[str, tuple[int, str, int]] = {}
        self.scratch_used = 0

    # ---- The whole call

    def plan(self) -> Plan:
        """Append the launches."""
        getattr(self, self.norm.direction)()
        return Plan(tuple(self.launches), self.scratch_used, self.values)

    def forward(self) -> None:
        """Append sums and statistics, twice, and elements. Kernels of an unnecessary second pass return at once."""
        self.need_sums()
        for name in ("means", "waits"):
            self.need(name, "float64", count(self.statistics))
        self.need("asked", "float64", 1)
        self.need_parameters("rounded", "scale", "shift")
        for second_pass in (False, True) if self.elements else (False,):
            centre = _Operand("centre", self.given["x"].storage, "x", "centre")
            if second_pass and self.norm.dtype == "float64":
                centre = self.parameter("centre", "means", "float64")
            if self.elements:
                self.sum_up("deviations", ["x"], [centre], wide=second_pass)
            self.moments(centre, second_pass)
        self.normalise()

    def inference(self) -> None:
        """Append parameters from given statistics, and elements."""
        self.fixed()
        self.normalise()

    def backward(self) -> None:
        """Append sums, the numbers derived from them, elements, and dweight and dbias."""
        if self.elements:
            self.need_sums()
            read = ["dy", "x", *self.gate()]
            own = [self.operand("mean"), self.operand("rstd")]
            if self.samples:
                weight = [self.operand("weight")] if "weight" in self.given else []
                self.sum_up("weighted_gradient_terms", read, own, weight)
            else:
                self.sum_up("gradient_terms", read, own)
            self.need_parameters("slope", "offset")
            self.gradients(is_fixed=False)
            weight_or_one = self.operand_or("weight", "one")
            slopes = [self.parameter("slope"), self.parameter("offset")]
            self.apply("input_gradient", [*own, *slopes, weight_or_one])
        if self.samples and self.elements:
            self.sum_up_features()
        self.totals()

    def backward_inference(self) -> None:
        """Append parameters from given statistics, sums for dweight and dbias, and elements."""
        self.fixed()
        own = [self.parameter("mean", "rounded"), self.parameter("rstd", "scale")]
        if self.elements:
            self.need_sums()
            self.sum_up("gradient_terms", ["dy", "x", *self.gate()], own)
            self.gradients(is_fixed=True)
            self.apply("input_gradient_fixed", [own[1], self.operand_or("weight", "one")])
        self.totals()

    def addition(self) -> None:
        """Append the elements."""
        self.apply("unchanged", [])

    def addition_backward(self) -> None:
        """Append the elements."""
        self.apply("unchanged_gradient", [])

    def gate(self) -> list[str]:
        return ["y"] if self.norm.variant & 1 else []

    # ---- Operands and scratch memory

    def operand(self, name: str) -> _Operand:
        """Return an array of the call."""
        return _Operand(name, self.given[name].storage, name, name)

    def operand_or(self, name: str, otherwise: str) -> _Operand | str:
        return self.operand(name) if name in self.given else otherwise

    def parameter(self, name: str, source: str | None = None, storage: str | None = None) -> _Operand:
        """Return an array in scratch memory with one value per statistic."""
        return _Operand(name, storage or self.norm.dtype, f".{source or name}", "statistic")

    def need(self, name: str, storage: str, elements: int) -> None:
        """Reserve scratch memory."""
        self.scratch[name] = self.scratch_used, storage, elements
        self.scratch_used += -(-elements * SIZES[storage] // ALIGNMENT) * ALIGNMENT

    def need_sums(self) -> None:
        sums = count(self.statistics if self.samples else [*self.outer, *self.channels]) * self.parts
        self.need("first", "float64", sums)
        self.need("second", "float64", sums)

    def need_parameters(self, *names: str) -> None:
        for name in names:
            self.need(name, self.norm.dtype, count(self.statistics))

    # ---- Sums

    def sum_up(
        self, function: str, read: Sequence[str], own: Sequence[_Operand], weight: Sequence[_Operand] = (), *,
        wide: bool = False,
    ) -> None:  # fmt: skip
        """Sum every part of every channel, or of every group if the layout is ROWS."""
        reads = [*map(self.operand, read), *weight]
        every = [*reads, *own]
        names = [each.name for each in every]
        rows = _merged(self.statistics if self.samples else [*self.outer, *self.channels], every)
        reduced = _merged(self.members if self.samples else self.space, every)
        columns = not self.samples and self.runs_across()
        words = {
            "rows": count(rows), "parts": self.parts, "part": PART, "length": count(reduced),
            "per_group": 1 if self.samples else self.per_group,
        }  # fmt: skip
        units = count(rows) * self.parts
        if columns:
            threads = machine().threads(THREADS, 2 * LANES)
            inner = count(self.channels)
            words.update(inner=inner, tiles=-(-inner // (threads // LANES)))
            blocks = count(self.outer) * self.parts * words["tiles"]
        else:
            groups = _power_of_two(-(-min(count(reduced), PART) // (GROUP * LANES)))
            threads = machine().threads(THREADS, groups * LANES)
            words.update(groups=groups)
            blocks = -(-units * groups * LANES // threads)
        arrays = [Array(each.name, each.storage) for each in reads]
        arrays += [Array(each.name, each.storage, along=False) for each in own]
        variant = 0 if function == "deviations" else self.norm.variant & 1
        mapping = "columns" if columns else "line"
        writer = Sums(tuple(arrays), self.norm.dtype, len(rows), function, variant, len(reduced), mapping, wide)
        self.add(writer, every, rows, reduced, {**words, **words_of("w", reduced, names, LANES)}, blocks, threads)

    def sum_up_features(self) -> None:
        """Sum every part of a feature's samples, for dweight and dbias."""
        every = [self.operand(name) for name in ("dy", "x", *self.gate(), "mean", "rstd")]
        names = [each.name for each in every]
        rows, reduced = _merged(self.channels, every), _merged(self.outer, every)
        part = -(-max(16, -(-count(reduced) // 64)) // GROUP) * GROUP
        parts = -(-count(reduced) // part)
        words = {"rows": count(rows), "parts": parts, "part": part, "length": count(reduced)}
        self.need("features_first", "float64", count(rows) * parts)
        self.need("features_second", "float64", count(rows) * parts)
        threads = machine().threads(THREADS // 4, 4)
        arrays = tuple(Array(each.name, each.storage) for each in every)
        variant = self.norm.variant & 1
        writer = Sums(arrays, self.norm.dtype, len(rows), "gradient_terms", variant, len(reduced), "single")
        self.feature_parts = parts
        self.add(
            writer, every, rows, reduced, {**words, **words_of("w", reduced, names, 1)},
            -(-count(rows) * parts // threads), threads, {"first": "features_first", "second": "features_second"},
        )  # fmt: skip

    # ---- Statistics

    def moments(self, centre: _Operand, second_pass: bool) -> None:
        """Compute mean, rstd, running statistics and parameters."""
        names = ["mean", "rstd", *(name for name in ("running_mean", "running_var") if name in self.given)]
        every = [centre, *map(self.operand, names)]
        rows = _merged(self.statistics, every)
        words = {**self.team_words(rows), "values": self.values if self.elements else 0}
        words["updates_var"] = int(self.updates_var())
        writer = Moments(_arrays(every), self.norm.dtype, len(rows), second_pass)
        self.add_team(writer, every, rows, words)

    def updates_var(self) -> bool:
        """True if there is a variance for updating the running one: a single value has no unbiased variance."""
        return self.elements > 0 and self.values > self.norm.unbiased

    def gradients(self, *, is_fixed: bool) -> None:
        """Compute sums of channels, slope and offset."""
        weighted = not self.samples and not is_fixed and "weight" in self.given
        every = [] if is_fixed else [self.operand("rstd")]
        every += [self.operand("weight")] if weighted else []
        rows = _merged(self.statistics, every)
        words = self.team_words(rows)
        reached = []
        if weighted:
            (member,) = merged(self.members, ["weight"])
            words["weight_channel"] = member.stride("weight")
            reached = [Axis(member.extent, {"weight": member.stride("weight")})]
        writer = Gradients(_arrays(every), self.norm.dtype, len(rows), weighted, is_fixed)
        self.add_team(writer, every, rows, words, reached)

    def team_words(self, rows: Sequence[Axis]) -> dict[str, int]:
        channels = 1 if self.samples else self.per_group
        team = min(_power_of_two(channels * self.parts), THREADS)
        return {"rows": count(rows), "channels": channels, "parts": self.parts, "team": team}

    def add_team(
        self, writer: Moments | Gradients, every: Sequence[_Operand], rows: list[Axis], words: dict[str, int],
        reached: Sequence[Axis] = (),
    ) -> None:  # fmt: skip
        threads = machine().threads(THREADS, max(words["team"], 2))
        blocks = -(-count(rows) * words["team"] // threads)
        self.add(writer, every, rows, reached, words, blocks, threads)

    def fixed(self) -> None:
        """Compute the parameters from given statistics."""
        self.need_parameters("rounded", "scale", "shift")
        every = [self.operand("mean"), self.operand("var")]
        rows = _merged(self.statistics, every)
        threads = machine().threads(THREADS // 2, 4)
        writer = Fixed(_arrays(every), self.norm.dtype, len(rows))
        self.add(writer, every, rows, [], {"rows": count(rows)}, -(-count(rows) // threads), threads)

    def totals(self) -> None:
        """Compute the gradients of weight and bias from the sums of all outer indices or parts."""
        every = [self.operand("dweight"), self.operand("dbias")]
        rows = _merged(self.channels, every)
        words = {"rows": count(rows), "terms": 0, "term_step": 0, "row_step": 0}
        sums = {}
        if not self.elements:
            self.need_sums()
        elif self.samples:
            words.update(terms=self.feature_parts, term_step=count(rows), row_step=1)
            sums = {"first": "features_first", "second": "features_second"}
        else:
            words.update(terms=count(self.outer), term_step=count(rows) * self.parts, row_step=self.parts)
        threads = machine().threads(THREADS // 4, 4)
        writer = Totals(_arrays(every), self.norm.dtype, len(rows))
        self.add(writer, every, rows, [], words, -(-count(rows) // threads), threads, sums)

    # ---- Elements

    def normalise(self) -> None:
        """Compute y from the parameters of each statistic."""
        own: list[_Operand | str] = [self.parameter("mean", "rounded"), self.parameter("rstd", "scale")]
        own += [self.parameter("shift"), self.operand_or("weight", "one"), self.operand_or("bias", "zero")]
        self.apply("normalise", own)

    def apply(self, function: str, parameters: Sequence[_Operand | str]) -> None:
        """Compute all elements of the arrays of x's shape."""
        if not self.elements:
            return
        arrays = [self.operand(name) for name in self.shaped_like_x(function)]
        every = [*arrays, *(each for each in parameters if isinstance(each, _Operand))]
        axes = [*self.outer, *self.channels, *self.space]
        axes = _merged(sorted(axes, key=lambda axis: -abs(axis.stride(arrays[0].base))), every)
        rows, column = axes[:-1] or [Axis(1, {})], axes[-1]

        def array_of(each: _Operand | str) -> Array | str:
            return each if isinstance(each, str) else Array(each.name, each.storage, column.stride(each.name) != 0)

        along = [each for each in every if each in arrays or column.stride(each.name)]
        contiguous = all(column.stride(each.name) == 1 for each in along)
        alike = all(row.stride(each.name) == 0 for each in every if each not in arrays for row in rows)
        down = alike and len(along) > len(arrays)
        kind = ColumnElements if down else Elements
        writer = kind(
            _arrays(arrays), self.norm.dtype, len(rows), function, self.norm.variant,
            tuple(map(array_of, parameters)), contiguous,
        )  # fmt: skip
        threads = machine().threads(THREADS, 4)
        together = 1 if down else writer.unroll  # elements of a row per thread and iteration
        width = _width(column.extent, together, threads)
        chunks = -(-column.extent // (width * together))
        words = {"units": count(rows) * chunks, "chunks": chunks, "width": width, "columns": column.extent}
        words.update({f"{each.name}_column": column.stride(each.name) for each in every})
        if not down:
            self.add(writer, every, rows, [column], words, -(-words["units"] * width // threads), threads)
            return
        # A thread processes a column's elements in some rows; there are enough threads to occupy most of the device.
        height = threads // width
        turns = -(-words["units"] // (self.most_blocks() * height * writer.unroll))
        span = height * writer.unroll * max(1, turns)
        words.update(words_of("w", rows, [each.name for each in every], height), length=count(rows), span=span)
        words.update(units=-(-count(rows) // span) * chunks)
        self.add(writer, every, [], [*rows, column], words, words["units"], threads)

    def most_blocks(self) -> int:
        """Return the number of threads that run concurrently."""
        return BLOCKS_PER_PROCESSOR * machine().processors(self.norm.device)

    def shaped_like_x(self, function: str) -> list[str]:
        """Return the arrays of x's shape that a function reads and writes, in this variant."""
        relu, residual = self.norm.variant & 1, self.norm.variant & 2
        if function in ("normalise", "unchanged"):
            return ["x", *["residual"] * bool(residual), "out"]
        read = ["dy"] if function in ("input_gradient_fixed", "unchanged_gradient") else ["dy", "x"]
        return [*read, *["y"] * bool(relu), "out", *["dresidual"] * bool(residual)]

    # ---- Launches

    def add(
        self, writer: NormKernel, operands: Sequence[_Operand],
        rows: Sequence[Axis], along: Sequence[Axis], words: Mapping[str, int], blocks: int, threads: int,
        scratch: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Append a launch, with its arguments in order."""
        if not blocks:
            return
        known = {**words, **words_of("r", rows, [each.name for each in operands])}
        by_name = {each.name: each for each in operands}
        pointers = []
        for name, storage in writer.pointers:
            if name in by_name:
                operand = by_name[name]
                axes = [*rows, *along]
                below, places = reach([axis.extent for axis in axes], [axis.stride(name) for axis in axes])
                known[f"{name}_start"] = below
                offset = -below * SIZES[storage]
                if operand.source.startswith("."):
                    offset += self.scratch[operand.source[1:]][0]
                array = "" if operand.source.startswith(".") else operand.source
                pointers.append(Pointer(array, offset, storage, places))
            else:
                offset, storage, elements = self.scratch[(scratch or {}).get(name, name)]
                pointers.append(Pointer("", offset, storage, elements))
        if 8 * len(writer.signature) > MAX_ARGUMENTS:
            raise BackendUnavailable(
                f"x has {len(self.norm.labels)} axes that can't be merged, more than kernels support in this version"
            )
        ordered = tuple(known[name] % ADDRESSES for name in writer.words)
        self.launches.append(
            Launch(writer, min(blocks, self.most_blocks()), threads, tuple(pointers), ordered, writer.scalars)
        )


def _merged(axes: Iterable[Axis], operands: Sequence[_Operand]) -> list[Axis]:
    """Merge axes as far as possible, with the strides of these operands by their own names."""
    renamed = (Axis(axis.extent, {each.name: axis.stride(each.base) for each in operands}) for axis in axes)
    return merged(renamed, [each.name for each in operands])


def _arrays(operands: Iterable[_Operand]) -> tuple[Array, ...]:
    return tuple(Array(each.name, each.storage) for each in operands)


def _width(columns: int, unroll: int, threads: int) -> int:
    """Return the number of threads per row: whole warps, up to its length, with few idle threads at its end."""
    widest = min(_power_of_two(-(-columns // unroll)), threads)
    widths = [width for width in (256, 128, 64, 32) if width < widest] if widest > WARP else []
    return min([widest, *widths], key=lambda width: -(-columns // (width * unroll)) * width)


def _power_of_two(number: int) -> int:
    """Return the least power of two that is at least n, and at least 1."""
    return 1 << max(number - 1, 0).bit_length()
