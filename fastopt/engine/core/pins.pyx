# cython: language_level=3
"""Pins prevent other code from freeing an array's memory by ordinary means.

While the GIL is released, or any Python code runs, another thread may call ``array.resize(n, refcheck=False)``, which
frees the memory that a kernel reads and writes. NumPy refuses to resize an array with a weak reference, and exporters of
the buffer protocol refuse while a buffer is exported: such a reference or export is a pin. ``ndarray.__setstate__`` and
assignments to ``array.data`` are not prevented, as in NumPy's own operations.
"""

import numpy

from cpython.memoryview cimport PyMemoryView_Check
from cpython.weakref cimport PyWeakref_NewRef
cimport numpy as cnp
from numpy cimport ndarray

cnp.import_array()

cdef extern from "Python.h":
    bint PyObject_CheckBuffer(object)
    PyObject *PyMemoryView_GET_BASE(object)

# The object between an array and the owner of its memory in as_strided and sliding_window_view.
cdef object strided_base = type(numpy.lib.stride_tricks.as_strided(numpy.zeros(1)).base)


cdef object owner_of(object array):
    """Return the object that owns an array's memory, at the end of a chain of views; or None."""
    cdef PyObject *base
    while array is not None:
        if cnp.PyArray_Check(array):
            base = cnp.PyArray_BASE(<ndarray>array)
            if base == NULL:
                return array
            array = <object>base
        elif PyMemoryView_Check(array):  # a memoryview's export of its base does not prevent an ndarray's resize
            base = PyMemoryView_GET_BASE(array)
            if base == NULL or not cnp.PyArray_Check(<object>base):
                return None
            array = <object>base
        elif type(array) is strided_base:
            array = array.base
        else:
            return array
    return None


cdef object pin_of(object array):
    """Return an object that pins an array's memory while it exists; None if no pin is necessary or possible."""
    owner = owner_of(array)
    if cnp.PyArray_Check(owner):
        return PyWeakref_NewRef(owner, None)
    return memoryview(owner) if PyObject_CheckBuffer(owner) else None


cdef int pin(list pins, object array) except -1:
    """Pin an array's memory for the lifetime of the list."""
    found = pin_of(array)
    if found is not None:
        pins.append(found)
    return 0


def pinned(arrays):
    """Return objects that pin the memory of these arrays."""
    cdef list pins = []
    for array in arrays:
        pin(pins, array)
    return pins
