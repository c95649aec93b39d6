"""Writes ``fastopt_specs.h``, from which the engine's C files read the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .dtypes import STORAGES
from .norms import AHEAD, ARRAYS, LAYOUTS, MAX_PARAMETERS, OPS, STRIPE, TILE_KERNELS, VARIANTS, Reduction
from .random import PURPOSES
from .scaling import SCALES, SCALING_KERNELS, STATISTICS
from .sums import GROUP, LANES, PART

#: What stands for a kernel that there is none of: their number.
NO_KERNEL = "TILE_KERNELS"


def c_specs() -> str:
    """Return the text of the header."""
    sizes = ", ".join(str(storage.size) for storage in STORAGES)
    largest = ", ".join(storage.largest.hex() for storage in STORAGES)
    variants = [f"{name} = {bits}" for name, bits in VARIANTS.items()]
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
        _constants({"STRIPE": STRIPE}),
        _slots(),
        _enum("tile_kernel", [kernel.name.upper() for kernel in TILE_KERNELS], NO_KERNEL),
        _enum("variant", variants, f"VARIANTS = {2 ** (len(VARIANTS) - 1)}"),
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


def _slots() -> str:
    """What stands where in a norm kernel's arrays and sizes."""
    arrays = [name.upper() for name in ARRAYS]
    places = [f"PARAMETER = {len(arrays)}", f"SUM = PARAMETER + {MAX_PARAMETERS}", "WORK = SUM + 2"]
    sizes = ["TILE_ROWS", "TILE_COLUMNS", "STEP", "SUM_STEP = STEP + ARRAYS", "NONTEMPORAL", f"AHEAD = {AHEAD}"]
    slots = _enum("slot", [*arrays, f"ARRAYS = {len(arrays)}", *places], "SLOTS")
    return f"{slots}\n\n{_enum('size', sizes, 'SIZES = AHEAD + ARRAYS')}"


def _kernel(name: str | None) -> str:
    return NO_KERNEL if name is None else name.upper()


def _reduction(reduction: Reduction | None) -> str:
    """The kernels of each reducer, by statistics pass."""
    return "{" + ", ".join(f"{{{_kernel(a)}, {_kernel(b)}}}" for a, b in reduction or Reduction()) + "}"


def _table(name: str, rows: Mapping[str, list[str]]) -> str:
    """The initialiser of a table by op and layout."""
    lines = "".join(f"        [{op}] = {{{', '.join(entries)}}}, \\\n" for op, entries in rows.items())
    return f"#define {name} \\\n    {{ \\\n{lines}    }}"
