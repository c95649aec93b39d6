"""The common parts of loops over tiles in Cython: their parameters, and the arguments that kernels pass."""

from __future__ import annotations

from fastopt.specs.dtypes import STORAGE
from fastopt.specs.norms import ARRAYS, PARAMETER, ROW, STEP, STRIPE

from ..norm import Loop

#: STRIP: columns with parameters that stay in registers for several rows; loading the five parameters of an input
#: gradient for every element takes longer than the arithmetic. 20 of AVX-512's 32 registers are used, or 10 of 16.
#:
#: prefetch_l2: memory that is read some microseconds later is prefetched into a core's second-level cache only, since
#: the first would evict data in use (the sums of batch norm's gradients, NHWC 32x56x56x64, in a separate loop: 1.4 ms;
#: into the first-level cache 1.8, without prefetching 1.7). The hardware stalls at the start of each plane, and of each
#: page if several rows are read in turn. Prefetching many KiB at once delays everything else, so every few rows
#: prefetch those that follow some microseconds later.
#:
#: LINES: elements that are computed in registers before non-temporal stores write them. With a single cache line, reads
#: of several arrays alternate with writes too often (batch norm + residual + relu, NCHW 32x64x56x56: 4.0 ms instead of
#: 2.2); 1 KiB does not fit in registers (channels last, forward: 1.2 ms instead of 0.95).
#:
#: element_t: the storage type of a tile's arrays; loaded and stored convert between it and the compute type.
PREAMBLE = """\
cdef extern from "core/sum_tree.h" nogil:
    double sum_of_lanes(const double *lanes, Py_ssize_t step)

cdef extern from *:
    \"\"\"
    typedef {c_element} element_t;
    typedef element_t *__restrict elements_t;
    typedef elements_t *tables_t;
    #define loaded(x) {loaded}
    #define stored(x) {stored}

    #ifdef __AVX512F__
    #define STRIP (256 / (Py_ssize_t)sizeof(real_t))
    #define LINES (256 / (Py_ssize_t)sizeof(real_t))
    #elif defined(__AVX__)
    #define STRIP (64 / (Py_ssize_t)sizeof(real_t))
    #define LINES (128 / (Py_ssize_t)sizeof(real_t))
    #else
    #define STRIP (32 / (Py_ssize_t)sizeof(real_t))
    #define LINES (64 / (Py_ssize_t)sizeof(real_t))
    #endif

    /* A column's sum of the terms of one or two tiles' lanes. It may be -0, but is added to sums that start at 0. */
    #define TERM(lane) (double)terms[(lane) * {stripe}]
    #define TWO_TERMS(lane) (TERM(lane) + TERM(LANES + (lane)))
    #define SUMS_OF(type, terms_, two_tiles_) \\
        static inline double sum_of_##terms_(const type *terms) {{ return SUM_OF_LANES(TERM); }} \\
        static inline double sum_of_##two_tiles_(const type *terms) {{ return SUM_OF_LANES(TWO_TERMS); }}
    SUMS_OF(real_t, terms, two_tiles)
    SUMS_OF(double, wide_terms, two_wide_tiles)

    #define LINE (64 / (Py_ssize_t)sizeof(real_t))
    typedef struct {{
        real_t x[LINES];
    }} lines_t;
    typedef struct {{
        real_t x[STRIP];
    }} strip_t;
    \"\"\"
    ctypedef {element} element_t
    ctypedef element_t *elements_t
    ctypedef elements_t *tables_t
    real loaded(element_t x) noexcept nogil
    element_t stored(real x) noexcept nogil
    ctypedef struct lines_t:
        real *x
    ctypedef struct strip_t:
        real *x
    Py_ssize_t STRIP, LINE, LINES
    Py_ssize_t bytes_to_line(const void *address) noexcept nogil
    void prefetch_l1(const void *address, Py_ssize_t bytes) noexcept nogil
    void prefetch_l2(const void *address, Py_ssize_t bytes) noexcept nogil
    void stream_store(char *to, const char *source, Py_ssize_t bytes) noexcept nogil
    double sum_of_terms(const real *terms) noexcept nogil
    double sum_of_two_tiles(const real *terms) noexcept nogil
    double sum_of_wide_terms(const double *terms) noexcept nogil
    double sum_of_two_wide_tiles(const double *terms) noexcept nogil"""


def preamble(storage: str) -> str:
    """Return the common definitions of loops over tiles with arrays of this storage type."""
    if STORAGE[storage].compute == storage:
        return PREAMBLE.format(stripe=STRIPE, c_element="real_t", element="real", loaded="(x)", stored="(x)")
    loaded, stored = f"from_{storage}(x)", f"to_{storage}(x)"
    element = f"{STORAGE[storage].bits}_t"
    text = PREAMBLE.format(stripe=STRIPE, c_element=element, element=element, loaded=loaded, stored=stored)
    return f"from libc.stdint cimport {element}\n\n{text}"


def pointer(name: str) -> str:
    """Return the pointer type of a tile's array; weights have the compute type."""
    return "run_t" if name == "weight" else "elements_t"


def prefetch_l2(start: str, columns: object) -> str:
    """Return the call that prefetches elements of an array."""
    return f"prefetch_l2({start}, {columns} * <Py_ssize_t>sizeof(element_t))"


def arguments(loop: Loop, names: tuple[str, ...], parameter: str) -> list[str]:
    """Return a loop's parameters: each array's row, the step to the next row, and the rule's parameters."""
    tiles = [each for name in names for each in (f"{pointer(name)} {name}_", f"Py_ssize_t {name}_step_")]
    return tiles + [f"{parameter} {name}" for name in loop.function.scalars]


def values(loop: Loop, names: tuple[str, ...], parameter: str, column: str = "0") -> list[str]:
    """Return the arguments that a kernel passes to its loop for row r, starting at a column."""
    given = []
    for name in names:
        slot = ARRAYS.index(name)
        given += [f"<{pointer(name)}>arrays[{slot}] + r * sizes[{STEP + slot}] + {column}", f"sizes[{STEP + slot}]"]
    for i, (_, along) in enumerate(loop.parameters):
        given += [f"<{parameter}>arrays[{PARAMETER + i}] + {'r' if along == ROW else column}"]
    return given
