cdef extern from "threads/parallel_for.h" nogil:
    ctypedef void (*range_fn)(void *, int, Py_ssize_t, Py_ssize_t) noexcept nogil

# The smallest number of array elements (elements of all arrays together) whose work lets other Python threads run
# meanwhile: an Adam step of 8 us or so.
cdef enum:
    RELEASE_GIL_FROM = 65536

cdef void parallel_for(range_fn run, void *argument, Py_ssize_t units, Py_ssize_t largest_chunk, int threads) noexcept nogil
cdef int choose_threads(Py_ssize_t array_elements, int wanted) noexcept nogil
cdef int threads_wanted(num_threads) except -1
