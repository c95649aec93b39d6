cdef int pin(list pins, object array) except -1
cdef object pin_of(object array)
cdef object owner_of(object array)

from cpython.object cimport PyObject
from numpy cimport ndarray

cdef extern from *:
    """
    #include <Python.h>
    #include <numpy/arrayobject.h>
    static inline int owns_its_memory(PyArrayObject *array) { return PyArray_CHKFLAGS(array, NPY_ARRAY_OWNDATA); }
    static inline int is_pinned_by(PyObject *array, PyObject *pin)
    {
        return ((PyArrayObject_fields *)array)->weakreflist == pin; /* a reference without a callback is first */
    }
    """
    bint owns_its_memory(ndarray) noexcept
    bint is_pinned_by(PyObject *array, PyObject *pin) noexcept
