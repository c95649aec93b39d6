cimport numpy as cnp
from numpy cimport ndarray, npy_intp

from fastopt.engine.update.job cimport FLOAT32, FLOAT64, FLOAT16, BFLOAT16, MAX_ARRAYS, MAX_SCALARS, storage, view_t


# The range of an array's bytes, the greatest common divisor of the distances between elements (0: there is one element),
# the bytes of an element, and the array's position.
ctypedef struct extent_t:
    char *first
    char *end
    size_t spacing
    size_t itemsize
    Py_ssize_t position


# An array's state when it was checked. Its shape and strides are copied, so that later changes of the array do not affect
# them: into `few`, or into allocated memory if it has more axes.
ctypedef struct array_t:
    char *data
    npy_intp *dims
    npy_intp *strides
    int ndim
    storage stored
    size_t itemsize
    bint straight  # C-contiguous
    npy_intp few[8]


cdef class Intake:
    """The checked views of the arrays of one or more tensors, and the pins of their memory.

    Large calls, and calls with several tensors, pin all arrays before they are checked (``is_held``): Python may run and the
    GIL may be released until the call is over. Otherwise arrays that own their memory are not pinned, and
    `expect_unchanged` must be called last, before a kernel that runs under the GIL.
    """

    cdef Py_ssize_t narrays, tensors
    cdef bint keeps_views  # the arrays are used after the call, as views that no other code refers to
    cdef bint is_held
    cdef list pins
    cdef array_t few[8]  # enough for one tensor: MAX_ARRAYS
    cdef array_t *many  # allocated for several tensors
    cdef array_t *looked
    cdef tuple names
    cdef list labels  # of all arrays; None: use the names
    cdef unsigned long long only_read  # bit i: the i-th array is not written
    cdef list arrays
    cdef bint has_float64
    cdef int device  # HOST, or the number of the CUDA device that holds all arrays

    cdef inline array_t *array_of(self, Py_ssize_t tensor, Py_ssize_t i) noexcept:
        return self.looked + tensor * self.narrays + i

    cdef inline ndarray array(self, Py_ssize_t tensor, Py_ssize_t i):
        return <ndarray>self.arrays[tensor * self.narrays + i]

    cdef int begin(self, tuple names, int grad, Py_ssize_t tensors) except -1
    cdef int take(self, tuple arrays) except -1
    cdef int expect_unchanged(self) except -1
    cdef int refuse_overlaps(self) except -1
    cdef int sweep(self, extent_t *extents, Py_ssize_t count) except -1
    cdef int refuse_shared(self, Py_ssize_t a, Py_ssize_t b) except -1
    cdef str label_of(self, Py_ssize_t i)


cdef enum:
    HOST = -1


cdef list pin_from(list arrays, Py_ssize_t first, bint is_held, list pins)
cdef ndarray as_ndarray(object array, str name, storage *stored, int *device)
cdef ndarray new_like(ndarray array, storage stored, str name)
cdef str place(int device)
cdef int refuse_elsewhere(int device, str name, int expected, str first) except -1
cdef int expect_at(int device, str name, backend, stream) except -1
cdef void point_at(array_t *looked, ndarray array, storage stored) noexcept
cdef int look(array_t *looked, ndarray array, storage stored, str name) except -1
cdef void forget(array_t *looked) noexcept
cdef bint is_unchanged(ndarray array, const array_t *looked) noexcept
cdef int refuse_changed(str name) except -1
cdef ndarray view_of(ndarray array, storage stored, str name)
cdef int check_memory(ndarray array, str name, bint written) except -1
cdef tuple shape_of(const array_t *array)
cdef tuple elements_of(const array_t *array)
cdef bint same_places(const array_t *a, const array_t *b) noexcept
cdef bint same_shape(const array_t *a, const array_t *b) noexcept
cdef int refuse_overlaps(array_t *looked, list names, unsigned long long only_read) except -1
cdef extent_t extent_of(const array_t *array, Py_ssize_t position) noexcept
cdef bint stand_between(const extent_t *a, const extent_t *b) noexcept nogil
cdef bint may_share(const array_t *a, const array_t *b) except -1


cdef inline view_t as_view(const array_t *looked) noexcept:
    return view_t(looked.data, looked.strides, looked.stored)


cdef inline bint is_plain(ndarray array, storage *stored) noexcept:
    """True, with how it is stored, if an array is of float32 or float64."""
    cdef int number = cnp.PyArray_TYPE(array)
    if number != cnp.NPY_FLOAT and number != cnp.NPY_DOUBLE or not cnp.PyArray_ISNOTSWAPPED(array):
        return False
    stored[0] = FLOAT32 if number == cnp.NPY_FLOAT else FLOAT64
    return True
