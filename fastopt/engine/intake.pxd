cimport numpy as cnp
from numpy cimport ndarray, npy_intp

from fastopt.engine.job cimport FLOAT32, FLOAT64, FLOAT16, BFLOAT16, MAX_ARRAYS, MAX_SCALARS, storage, view_t


# The bytes from an array's lowest element to behind its highest, what all distances of elements are multiples of (0: there
# is one element), an element's bytes, and the array's position among all.
ctypedef struct extent_t:
    char *first
    char *end
    size_t spacing
    size_t itemsize
    Py_ssize_t position


cdef class Intake:
    """The checked views of one or more tensors' arrays, and the arrays that own their memory."""

    cdef Py_ssize_t narrays, tensors
    cdef tuple names
    cdef list labels  # of all arrays; None: the names
    cdef unsigned long long only_read  # bit i: the i-th array is not written
    cdef list arrays
    cdef view_t few[8]  # enough for one tensor: MAX_ARRAYS
    cdef view_t *views
    cdef bint has_float64
    cdef int device  # HOST, or the number of the CUDA device that all arrays are on

    cdef inline view_t *views_of(self, Py_ssize_t tensor) noexcept:
        return self.views + tensor * self.narrays

    cdef inline ndarray array(self, Py_ssize_t tensor, Py_ssize_t i):
        return <ndarray>self.arrays[tensor * self.narrays + i]

    cdef int begin(self, tuple names, int grad, Py_ssize_t tensors) except -1
    cdef int take(self, tuple arrays) except -1
    cdef int change_device(self, int device, str name) except -1
    cdef int refuse_overlaps(self) except -1
    cdef int sweep(self, extent_t *extents, Py_ssize_t count) except -1
    cdef int refuse_shared(self, Py_ssize_t a, Py_ssize_t b) except -1
    cdef str label_of(self, Py_ssize_t i)


cdef enum:
    HOST = -1


cdef ndarray as_ndarray(object array, str name, storage *stored, int *device)
cdef ndarray new_like(ndarray array, storage stored, str name)
cdef str place(int device)
cdef int expect_at(int device, str name, backend, stream) except -1
cdef int check_memory(ndarray array, str name, bint written) except -1
cdef tuple shape_of(ndarray array)
cdef tuple elements_of(ndarray array, storage stored)
cdef bint same_places(ndarray a, ndarray b) noexcept
cdef bint same_shape(ndarray a, ndarray b) noexcept
cdef extent_t extent_of(ndarray array, Py_ssize_t position) noexcept
cdef bint stand_between(const extent_t *a, const extent_t *b) noexcept nogil
cdef bint may_share(ndarray a, ndarray b) except -1


cdef extern from "numpy/arrayobject.h":
    bint PyArray_ISNOTSWAPPED(ndarray) noexcept


cdef inline bint is_plain(ndarray array, storage *stored) noexcept:
    """True, with how it is stored, if an array is of float32 or float64."""
    cdef int number = cnp.PyArray_TYPE(array)
    if number != cnp.NPY_FLOAT and number != cnp.NPY_DOUBLE or not PyArray_ISNOTSWAPPED(array):
        return False
    stored[0] = FLOAT32 if number == cnp.NPY_FLOAT else FLOAT64
    return True
