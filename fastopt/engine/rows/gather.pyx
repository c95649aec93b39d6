# cython: language_level=3, boundscheck=False, wraparound=False
"""Gathers rows of arrays into buffers on several threads, and shuffles row numbers."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
cimport numpy as cnp
from numpy cimport PyArray_IS_C_CONTIGUOUS, ndarray

from fastopt.engine.call cimport checked, releases_gil
from fastopt.engine.core.pins cimport pin
from fastopt.engine.threads.threads cimport choose_threads, run_parallel, threads_wanted

cnp.import_array()

cdef extern from "rows/rows.h" nogil:
    ctypedef struct rows_t:
        const char *data
        char *out
        Py_ssize_t stride, bytes, run
        int ndim
    ctypedef struct gather_t:
        rows_t *arrays
        int narrays
        const int64_t *numbers
        Py_ssize_t count
    void add_row_axis(rows_t *, Py_ssize_t, Py_ssize_t)
    void close_row(rows_t *)
    Py_ssize_t number_row_units(gather_t *)
    void gather_units(void *, int, Py_ssize_t, Py_ssize_t) noexcept
    int are_rows(const int64_t *, Py_ssize_t, Py_ssize_t)
    void shuffle_rows(int64_t *, Py_ssize_t, uint64_t, uint64_t)

cdef extern from "core/tuning.h" nogil:
    Py_ssize_t ROWS_LARGEST_CHUNK


def gather(tuple arrays, tuple outs, ndarray numbers, num_threads=None):
    """Copy the rows with these numbers from each array into its C-contiguous output array."""
    cdef gather_t work
    cdef Py_ssize_t i, units, elements = 0
    cdef int threads, wanted = threads_wanted(num_threads)
    cdef list pins = None  # large arrays are pinned, since the GIL is released
    if len(outs) != len(arrays) or cnp.PyArray_TYPE(numbers) != cnp.NPY_INT64 or not PyArray_IS_C_CONTIGUOUS(numbers):
        raise ValueError(f"{len(outs)} outs, {numbers.dtype} numbers; expected {len(arrays)}, a C-contiguous int64 array")
    work.narrays = <int>len(arrays)
    work.arrays = <rows_t *>checked(malloc(max(len(arrays), 1) * sizeof(rows_t)))
    try:
        for i in range(len(arrays)):
            elements += cnp.PyArray_NBYTES(<ndarray?>outs[i]) // 2  # counted as elements of 4 bytes, read and written
        if releases_gil(elements, True):
            pins = []
            for array in (numbers, *arrays, *outs):
                pin(pins, array)
        work.numbers = <const int64_t *>cnp.PyArray_DATA(numbers)
        work.count = cnp.PyArray_SIZE(numbers)
        # From here on, no Python code runs except to raise an error.
        for i in range(len(arrays)):
            plan_rows(&work.arrays[i], &work, <ndarray?>arrays[i], <ndarray?>outs[i])
        units = number_row_units(&work)
        threads = choose_threads(elements, wanted)
        run_parallel(gather_units, &work, units, ROWS_LARGEST_CHUNK, threads, pins is not None)
    finally:
        free(work.arrays)


cdef int plan_rows(rows_t *rows, gather_t *work, ndarray array, ndarray out) except -1:
    cdef int axis
    cdef bint same = cnp.PyArray_NDIM(out) == cnp.PyArray_NDIM(array) and cnp.PyArray_DIM(out, 0) == work.count
    same = same and PyArray_IS_C_CONTIGUOUS(out) and cnp.PyArray_ITEMSIZE(out) == cnp.PyArray_ITEMSIZE(array)
    for axis in range(1, cnp.PyArray_NDIM(array)):
        same = same and cnp.PyArray_DIM(out, axis) == cnp.PyArray_DIM(array, axis)
    if not same or not are_rows(work.numbers, work.count, cnp.PyArray_DIM(array, 0)):
        raise ValueError("an out has another shape than the rows or is not C-contiguous, or a row number is out of range")
    rows.data = <const char *>cnp.PyArray_DATA(array)
    rows.out = <char *>cnp.PyArray_DATA(out)
    rows.stride = cnp.PyArray_STRIDE(array, 0)
    rows.bytes = rows.run = cnp.PyArray_ITEMSIZE(array)
    rows.ndim = 0
    for axis in range(1, cnp.PyArray_NDIM(array)):
        add_row_axis(rows, cnp.PyArray_DIM(array, axis), cnp.PyArray_STRIDE(array, axis))
    close_row(rows)
    return 0


def shuffle(ndarray numbers, seed, epoch):
    """Write 0, 1, ... into an int64 array, in the order determined by a seed and an epoch."""
    cdef int64_t *first = <int64_t *>cnp.PyArray_DATA(numbers)
    cdef Py_ssize_t count = cnp.PyArray_SIZE(numbers)
    cdef uint64_t key = seed, counter = epoch
    if cnp.PyArray_TYPE(numbers) != cnp.NPY_INT64 or not PyArray_IS_C_CONTIGUOUS(numbers):
        raise ValueError(f"numbers has dtype {numbers.dtype}; expected a C-contiguous int64 array")
    with nogil:
        shuffle_rows(first, count, key, counter)
