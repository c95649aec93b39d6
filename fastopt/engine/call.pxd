from numpy cimport ndarray

from fastopt.engine.core.intake cimport array_t, storage
from fastopt.engine.threads.threads cimport RELEASE_GIL_FROM
from fastopt.engine.update.job cimport codec_t


cdef enum:
    MAX_CALL_ARRAYS = 12  # for a norm's call
    MAX_KERNELS = 32  # for a family
    NONE = -1  # the position of an array that was not given


cdef class Kernels:
    """A backend's kernels of one family for arrays of one type, loaded when they are first used."""

    cdef str backend, family, dtype
    cdef tuple names
    cdef void *kernels[MAX_KERNELS][4]
    cdef const codec_t *codecs
    cdef bint is_ahead_of_time

    cdef void *load(self, int kernel, int variant) except NULL


cdef Kernels kernels_of(str family, tuple names, backend, str dtype)


cdef class Call:
    """One call: its options, its checked arrays, and the device that it runs on.

    The steps, in order: `begin` checks the options; `take` accepts each array and runs all code of the caller's, such as
    ``__dlpack__``; `hold` pins memory; `check` records and checks an array; `choose_backend` raises if the backend can't
    run on the arrays' device. Then the family plans its kernels and runs the reference, the engine or the CUDA dispatch.
    """

    cdef list arrays, names, pins
    cdef bint is_held  # all arrays are pinned: during the call Python may run and the GIL may be released
    cdef storage stored[MAX_CALL_ARRAYS]
    cdef array_t *looked
    cdef int nlooked
    cdef unsigned long long only_read  # bit i: the i-th array is not written
    cdef bint has_float64
    cdef int device  # HOST, or the number of the CUDA device that holds all arrays
    cdef object backend, stream
    cdef bint is_reference
    cdef int wanted  # number of threads; 0: the default

    cdef void *reserve(self, size_t more) except NULL
    cdef int begin(self, backend, num_threads, stream) except -1
    cdef Py_ssize_t take(self, object array, str name, bint written) except -1
    cdef Py_ssize_t take_optional(self, object array, str name, bint written) except? -1
    cdef int hold(self, Py_ssize_t elements, bint runs_python) except -1
    cdef int check(self, Py_ssize_t position) except -1
    cdef int look_at(self, Py_ssize_t position) except -1
    cdef Py_ssize_t own(self, ndarray array, str name) except -1
    cdef Py_ssize_t own_like(self, Py_ssize_t position, str name) except -1
    cdef int choose_backend(self) except -1
    cdef int expect_unchanged(self) except -1
    cdef int refuse_overlaps(self) except -1
    cdef int refuse_overlaps_but_in_place(self, Py_ssize_t out) except -1
    cdef bint is_in_place(self, Py_ssize_t position, Py_ssize_t out) noexcept
    cdef object view(self, Py_ssize_t position)
    cdef str dtype(self)


cdef int check_backend_type(backend) except -1
cdef int refuse_bfloat16_bits(list arrays) except -1
cdef int store_rounded(ndarray array, values) except -1
cdef void *checked(void *memory) except NULL

cdef extern from "core/scratch_pool.h":
    void *take_memory(size_t)
    void leave_memory(void *)


cdef inline bint releases_gil(Py_ssize_t elements, bint is_held) noexcept:
    """True if a call over this many array elements, all of them pinned, lets other Python threads run."""
    return is_held and elements >= RELEASE_GIL_FROM
