"""Declarations of sum_squares.h: norms of tensors."""

from numpy cimport npy_intp

from fastopt.engine.update.job cimport summing_t, task_t, view_t

cdef extern from "core/sum_tree.h" nogil:
    Py_ssize_t SQUARE_PART

cdef extern from "update/sum_squares.h" nogil:
    ctypedef struct sum_t:
        double value
        int exponent
    enum measured:
        GRADIENTS, PAIRS, DIRECTIONS
    ctypedef struct measure_t:
        const view_t *views
        int ndim
        const npy_intp *shape
        unsigned straight
        Py_ssize_t count, units, units_before
        const task_t *task
        double weight_decay
        sum_t *sums
    ctypedef struct measure_scratch_t:
        pass
    ctypedef struct measures_t:
        measured what
        const summing_t *summing[2]
        const measure_t *measures
        Py_ssize_t count
        measure_scratch_t *scratch
    void measure_units(void *, int, Py_ssize_t, Py_ssize_t) noexcept
    void add_sum(sum_t *, const sum_t *)
    double root_of(const sum_t *)
