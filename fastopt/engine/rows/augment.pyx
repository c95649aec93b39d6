# cython: language_level=3, boundscheck=False, wraparound=False
"""Copies a window of each image, over threads, for `fastopt.augment`."""

import numpy

from libc.stdint cimport uint32_t, uint64_t
cimport numpy as cnp
from numpy cimport ndarray

from fastopt.engine.call cimport releases_gil
from fastopt.engine.core.intake cimport check_memory
from fastopt.engine.threads.threads cimport choose_threads, parallel_for, threads_wanted

cnp.import_array()

cdef extern from "core/philox.h":
    enum purpose:
        pass

cdef extern from "rows/windows.h" nogil:
    ctypedef struct windows_t:
        const char *data
        char *out
        Py_ssize_t shape[4]
        Py_ssize_t out_shape[4]
        Py_ssize_t strides[4]
        Py_ssize_t out_strides[4]
        Py_ssize_t bytes
        const char *fill
        uint64_t seed, offset
        purpose purpose
        Py_ssize_t first[2]
        Py_ssize_t count[2]
        uint32_t flips
    void merge_channels(windows_t *)
    void copy_windows(void *, int, Py_ssize_t, Py_ssize_t) noexcept

cdef extern from "core/tuning.h" nogil:
    Py_ssize_t ROWS_LARGEST_CHUNK, OVERLAP_WORK


def window(ndarray x, ndarray out, ndarray fill, seed, offset, int number, first, count, flips=0, num_threads=None):
    """Copy a window of each image of x into out; both have the axes samples, channels, rows and columns.

    A window begins at row ``first[0]`` to ``first[0] + count[0] - 1``, and at a column likewise. ``fill`` has a row of
    out, with all its channels. The caller pins the memory of x and out, and nobody else knows these views of it.
    """
    cdef windows_t work
    cdef int axis, threads, wanted = threads_wanted(num_threads)
    cdef Py_ssize_t elements = (cnp.PyArray_NBYTES(x) + cnp.PyArray_NBYTES(out)) // 4
    cdef Py_ssize_t row = cnp.PyArray_ITEMSIZE(x)
    if cnp.PyArray_NDIM(x) != 4 or cnp.PyArray_NDIM(out) != 4 or cnp.PyArray_ITEMSIZE(out) != row:
        raise ValueError("x and out are not batches of images of one type")
    for axis in range(4):
        work.shape[axis], work.out_shape[axis] = cnp.PyArray_DIM(x, axis), cnp.PyArray_DIM(out, axis)
        work.strides[axis], work.out_strides[axis] = cnp.PyArray_STRIDE(x, axis), cnp.PyArray_STRIDE(out, axis)
        if axis < 2 and work.shape[axis] != work.out_shape[axis]:
            raise ValueError("x and out have other samples or channels")
    row *= work.shape[1] * work.out_shape[3]
    if cnp.PyArray_NBYTES(fill) < row or not fill.flags.c_contiguous or flips and work.shape[3] != work.out_shape[3]:
        raise ValueError("fill is no row of out, or what is flipped has another width")
    if not row * work.shape[0] * work.out_shape[2]:
        return
    work.data, work.out = <const char *>cnp.PyArray_DATA(x), <char *>cnp.PyArray_DATA(out)
    work.bytes, work.fill = cnp.PyArray_ITEMSIZE(x), <const char *>cnp.PyArray_DATA(fill)
    work.seed, work.offset, work.purpose, work.flips = seed, offset, <purpose>number, flips
    for axis in range(2):
        work.first[axis], work.count[axis] = first[axis], count[axis]
        if work.count[axis] < 1:
            raise ValueError("there is no window")
    merge_channels(&work)
    threads = choose_threads(elements, wanted)
    if releases_gil(elements, True):
        with nogil:
            parallel_for(copy_windows, &work, work.shape[0], ROWS_LARGEST_CHUNK, threads)
    else:
        parallel_for(copy_windows, &work, work.shape[0], ROWS_LARGEST_CHUNK, threads)


def check_out(ndarray x, ndarray out):
    """Raise if out can't be written, or shares an element with x, or may do so for all that can be found out in short."""
    check_memory(out, "out", True)
    try:
        shared = numpy.shares_memory(x, out, max_work=OVERLAP_WORK)
    except numpy.exceptions.TooHardError:
        shared = True
    if shared:
        raise ValueError("out overlaps x in memory; expected arrays that share no element")
