cdef extern from "threads/parallel_for.h" nogil:
    ctypedef void (*range_fn)(void *, int, Py_ssize_t, Py_ssize_t) noexcept nogil

cdef extern from "core/tuning.h" nogil:
    enum:
        RELEASE_GIL_FROM

cdef void parallel_for(range_fn run, void *argument, Py_ssize_t units, Py_ssize_t largest_chunk, int threads) noexcept nogil
cdef int choose_threads(Py_ssize_t array_elements, int wanted) noexcept nogil
cdef int threads_wanted(num_threads) except -1


cdef inline void run_parallel(
    range_fn run, void *argument, Py_ssize_t units, Py_ssize_t largest_chunk, int threads, bint releases_gil
) noexcept:
    """Like parallel_for, but other Python threads may run in the meantime if the call releases the GIL."""
    if releases_gil:
        with nogil:
            parallel_for(run, argument, units, largest_chunk, threads)
    else:
        parallel_for(run, argument, units, largest_chunk, threads)
