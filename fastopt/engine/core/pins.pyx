# cython: language_level=3
"""Pins: for as long as one is held, nobody frees the memory of an array by ordinary means.

While the GIL is released, or any Python code runs, another thread may call ``array.resize(n, refcheck=False)``, which
frees the memory that a kernel reads and writes. NumPy refuses that for an array that has a weak reference, and an exporter
of the buffer protocol for one that is exported: such a reference, or such an export, is a pin. ``ndarray.__setstate__`` and
an assignment to ``array.data`` ask nobody, here as under NumPy's own operations.
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

# What stands between an array and its memory's owner in as_strided and sliding_window_view, by its attribute `base`.
cdef object strided_base = type(numpy.lib.stride_tricks.as_strided(numpy.zeros(1)).base)


cdef object owner_of(object array):
    """The object at the end of a chain of views, whose memory it is; or None."""
    cdef PyObject *base
    while array is not None:
        if cnp.PyArray_Check(array):
            base = cnp.PyArray_BASE(<ndarray>array)
            if base == NULL:
                return array
            array = <object>base
        elif PyMemoryView_Check(array):  # which keeps its base exported, but that is nothing to an ndarray
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
    """What keeps an array's memory for as long as it lives; None where nothing is needed, or nothing is possible."""
    owner = owner_of(array)
    if cnp.PyArray_Check(owner):
        return PyWeakref_NewRef(owner, None)
    return memoryview(owner) if PyObject_CheckBuffer(owner) else None


cdef int pin(list pins, object array) except -1:
    """Keep an array's memory for as long as the list lives."""
    found = pin_of(array)
    if found is not None:
        pins.append(found)
    return 0


def pinned(arrays):
    """Return what keeps the memory of these arrays for as long as it lives."""
    cdef list pins = []
    for array in arrays:
        pin(pins, array)
    return pins
