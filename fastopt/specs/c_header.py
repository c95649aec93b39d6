"""Writes ``fastopt_specs.h``, from which the engine's C files read the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import norms
from .dtypes import STORAGES
from .norms import LAYOUTS, OPS, TILE_KERNELS, VARIANTS, Reduction
from .random import PURPOSES
from .scaling import SCALES, SCALING_KERNELS, STATISTICS
from .sums import GROUP, LANES, PART

#: The positions among a norm kernel's arrays, after those with a name, and among its sizes.
SLOT = {"ARRAYS": len(norms.ARRAYS), **{name: getattr(norms, name) for name in ("PARAMETER", "SUM", "WORK", "SLOTS")}}
SIZE = {
    name: getattr(norms, name)
    for name in ("TILE_ROWS", "TILE_COLUMNS", "STEP", "SUM_STEP", "NONTEMPORAL", "AHEAD", "SIZES")
}


def c_specs() -> str:
    """Return the text of the header."""
    sizes = ", ".join(str(storage.size) for storage in STORAGES)
    largest = ", ".join(storage.largest.hex() for storage in STORAGES)
    apply = {name: [_kernel(op.apply.get(each)) for each in LAYOUTS] for name, op in OPS.items()}
    reduce = {name: [_reduction(op.reduce.get(each)) for each in LAYOUTS] for name, op in OPS.items()}
    parts = [
        "/* Generated from fastopt/specs by fastopt/specs/c_header.py: change those, not this. */",
        "#ifndef FASTOPT_SPECS_H\n#define FASTOPT_SPECS_H",
        "/* Storage types (specs/dtypes.py): the bytes of a number, and the largest finite one. */",
        _enum("storage", [storage.enumerator for storage in STORAGES], "STORAGES"),
        f"#define STORAGE_SIZES {{{sizes}}}\n#define STORAGE_LARGEST {{{largest}}}",
        "/* The fixed tree of a sum (specs/sums.py). */",
        _constants({"GROUP": GROUP, "LANES": LANES, "PART": PART}),
        "/* Norms (specs/norms.py): a kernel's arrays and sizes, kernels and their variants, layouts and passes. */",
        _constants({"STRIPE": norms.STRIPE}),
        _enum("slot", [*map(str.upper, norms.ARRAYS), *_numbered(SLOT)]),
        _enum("size", _numbered(SIZE)),
        _enum("tile_kernel", [kernel.name.upper() for kernel in TILE_KERNELS], "TILE_KERNELS"),
        _constants({"NO_KERNEL": len(TILE_KERNELS)}),
        _enum("variant", _numbered(VARIANTS), f"VARIANTS = {2 ** (len(VARIANTS) - 1)}"),
        _enum("layout", LAYOUTS, "LAYOUTS"),
        _enum("op", list(OPS), "OPS"),
        _enum("reducer", [f"REDUCE_{name.upper()}" for name in Reduction._fields], "REDUCERS"),
        _table("APPLY_KERNELS", apply),
        _table("REDUCE_KERNELS", reduce),
        "/* Feature scaling (specs/scaling.py): kernels, and the statistics of a feature. */",
        _enum("scaling_kernel", [kernel.name.upper() for kernel in SCALING_KERNELS], "SCALING_KERNELS"),
        _enum("column_stat", [name.upper() for name in STATISTICS], "STATS_PER_COLUMN"),
        _constants({"SCALES": len(SCALES)}),
        "/* The purposes of random bits (specs/random.py). */",
        _enum("purpose", [f"{PURPOSES[0]} = 1", *PURPOSES[1:]]),
        "#endif",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _enum(name: str, members: Iterable[str], count: str | None = None) -> str:
    listed = "".join(f"    {member},\n" for member in [*members, *([count] if count else [])])
    return f"enum {name} {{\n{listed}}};"


def _constants(values: Mapping[str, int]) -> str:
    return "\n".join(f"#define {name} {value}" for name, value in values.items())


def _numbered(values: Mapping[str, int]) -> list[str]:
    """The members of an enum that have these numbers."""
    return [f"{name} = {value}" for name, value in values.items()]


def _kernel(name: str | None) -> str:
    return "NO_KERNEL" if name is None else name.upper()


def _reduction(reduction: Reduction | None) -> str:
    """The kernels of each reducer, by statistics pass."""
    return "{" + ", ".join(f"{{{_kernel(a)}, {_kernel(b)}}}" for a, b in reduction or Reduction()) + "}"


def _table(name: str, rows: Mapping[str, list[str]]) -> str:
    """The initialiser of a table by op and layout."""
    lines = "".join(f"        [{op}] = {{{', '.join(entries)}}}, \\\n" for op, entries in rows.items())
    return f"#define {name} \\\n    {{ \\\n{lines}    }}"
