# cython: language_level=3, boundscheck=False, wraparound=False
"""The steps that all families share: checks of options and arrays, and the choice of a backend and a device.

A family adds its planner and its kernels. Updates have an intake of their own for their arrays (`Intake`), because a list
of names would be too slow for a call of 1 us. They share the checks of backends.
"""

import numpy

from fastopt.backends import find_host_backend, load_kernel, load_table
from fastopt.common.messages import brief
from fastopt.engine.core import devices
from fastopt.specs.dtypes import COMPUTE_TYPES, STORAGE

cimport cython
cimport numpy as cnp
from numpy cimport ndarray

from fastopt.engine.core.intake cimport (
    FLOAT64, HOST, array_t, as_ndarray, check_memory, elements_of, expect_at, forget, is_unchanged, look, new_like, pin_from,
    refuse_changed, refuse_elsewhere, refuse_overlaps, same_places, same_shape, view_of,
)
from fastopt.engine.threads.threads cimport RELEASE_GIL_FROM, threads_wanted

cnp.import_array()

# ---- Kernels


cdef class Kernels:
    cdef void *load(self, int kernel, int variant) except NULL:
        cdef size_t address
        if self.kernels[kernel][variant] == NULL:
            address = load_kernel(self.backend, self.family, self.names[kernel], self.dtype, variant)
            self.kernels[kernel][variant] = <void *>address
        return self.kernels[kernel][variant]


cdef dict loaded = {}


cdef Kernels kernels_of(str family, tuple names, backend, str dtype):
    """Return a family's kernels for arrays of a type; ``names`` is in the order of the family's enumeration."""
    cdef Kernels kernels
    cdef size_t codecs
    key = (family, backend, dtype)
    if key in loaded:
        return <Kernels>loaded[key]
    if len(names) > MAX_KERNELS:
        raise ValueError(f"{family} has {len(names)} kernels; expected at most {MAX_KERNELS}")
    kernels = Kernels.__new__(Kernels)
    kernels.family, kernels.names, kernels.dtype = family, names, dtype
    kernels.backend = "cython" if backend is None else backend
    codecs = load_table("codecs", STORAGE[dtype].compute)
    kernels.codecs = <const codec_t *>codecs
    kernels.is_ahead_of_time = kernels.backend == "cython"
    loaded[key] = kernels
    return kernels


# ---- Options


cdef int check_backend_type(backend) except -1:
    if backend is not None and not isinstance(backend, str):
        raise TypeError(f"backend is {brief(backend)}, a {type(backend).__name__}; expected None or a string")
    return 0


# ---- A call


@cython.no_gc  # no cycle contains a call; this saves 0.05 us of a residual_add of 1.03 us (AVX-512, 2026-12)
cdef class Call:
    def __cinit__(self):
        self.arrays = []
        self.names = []
        self.device = HOST

    def __dealloc__(self):
        cdef int i
        for i in range(self.nlooked):
            forget(&self.looked[i])
        leave_memory(self.looked)

    cdef void *reserve(self, size_t more) except NULL:
        """Allocate the records of the arrays and ``more`` bytes for the family; return the address of the latter."""
        self.looked = <array_t *>checked(take_memory(MAX_CALL_ARRAYS * sizeof(array_t) + more))
        return self.looked + MAX_CALL_ARRAYS

    cdef int begin(self, backend, num_threads, stream) except -1:
        """Check the options."""
        if self.looked == NULL:
            self.reserve(0)
        self.wanted = threads_wanted(num_threads)
        check_backend_type(backend)
        self.backend, self.stream = backend, stream
        self.is_reference = backend is not None and backend == "reference"
        return 0

    cdef Py_ssize_t take(self, object array, str name, bint written) except -1:
        """Append an array; return its position."""
        cdef Py_ssize_t position = len(self.arrays)
        cdef int device
        self.arrays.append(as_ndarray(array, name, &self.stored[position], &device))
        if device != self.device and position > 0:
            refuse_elsewhere(device, name, self.device, self.names[0])
        self.device = device
        self.names.append(name)
        if not written:
            self.only_read |= <unsigned long long>1 << position
        return position

    cdef Py_ssize_t take_optional(self, object array, str name, bint written) except? -1:
        """Append an array that may be None; return its position or NONE."""
        return NONE if array is None else self.take(array, name, written)

    cdef int hold(self, Py_ssize_t elements, bint runs_python) except -1:
        """Keep the arrays' memory alive until the call is over.

        If Python code or, in a large call, another thread may run in the meantime, all arrays are pinned. Otherwise only arrays
        that do not own their memory are pinned, and `expect_unchanged` must be the last check. If Python code runs, the call
        uses views, which no other code can reshape.
        """
        cdef Py_ssize_t i
        self.is_held = runs_python or elements >= RELEASE_GIL_FROM
        self.pins = pin_from(self.arrays, 0, self.is_held, self.pins)
        for i in range(len(self.arrays) if runs_python else 0):
            self.arrays[i] = view_of(<ndarray>self.arrays[i], self.stored[i], <str>self.names[i])
        return 0

    cdef int check(self, Py_ssize_t position) except -1:
        """Record an array's address, shape and strides, and raise unless it can be read or written as intended."""
        self.look_at(position)
        check_memory(<ndarray>self.arrays[position], <str>self.names[position], not self.only_read >> position & 1)
        self.has_float64 |= self.stored[position] == FLOAT64
        return 0

    cdef int look_at(self, Py_ssize_t position) except -1:
        self.looked[position].dims = self.looked[position].few
        self.nlooked = <int>position + 1
        return look(&self.looked[position], <ndarray>self.arrays[position], self.stored[position], self.names[position])

    cdef Py_ssize_t own(self, ndarray array, str name) except -1:
        """Append an array that the call itself created."""
        cdef Py_ssize_t position = self.take(array, name, True)
        self.has_float64 |= self.stored[position] == FLOAT64
        self.look_at(position)
        return position

    cdef Py_ssize_t own_like(self, Py_ssize_t position, str name) except -1:
        """Create an array with the shape and dtype of another one, and append it."""
        cdef Py_ssize_t made = self.own(new_like(<ndarray>self.arrays[position], self.stored[position], name), name)
        if not same_shape(&self.looked[made], &self.looked[position]):
            refuse_changed(self.names[position])
        return made

    cdef int choose_backend(self) except -1:
        """Raise if the backend can't run on the arrays' device, or if the stream belongs to another device."""
        expect_at(self.device, self.names[0], self.backend, self.stream)
        if self.device == HOST and self.backend is not None and not self.is_reference:
            find_host_backend(self.backend, self.names[0])
        return 0

    cdef int expect_unchanged(self) except -1:
        """Raise if an array that is not pinned has changed since it was checked."""
        cdef Py_ssize_t i
        for i in range(0 if self.is_held else self.nlooked):
            if not is_unchanged(<ndarray>self.arrays[i], &self.looked[i]):
                refuse_changed(self.names[i])
        return 0

    cdef int refuse_overlaps(self) except -1:
        """Raise if a written array shares an element with another array."""
        return refuse_overlaps(self.looked, self.names, self.only_read)

    cdef int refuse_overlaps_but_in_place(self, Py_ssize_t out) except -1:
        """Like `refuse_overlaps`, but an array that is read may be ``out`` itself."""
        cdef Py_ssize_t i
        cdef array_t others[MAX_CALL_ARRAYS]
        cdef list names = []
        if out == NONE:
            return self.refuse_overlaps()
        for i in range(out):
            if not self.is_in_place(i, out):
                others[len(names)] = self.looked[i]
                names.append(self.names[i])
        others[len(names)] = self.looked[out]
        names.append(self.names[out])
        return refuse_overlaps(others, names, (<unsigned long long>1 << (len(names) - 1)) - 1)  # all but out are read-only

    cdef bint is_in_place(self, Py_ssize_t position, Py_ssize_t out) noexcept:
        """True if an array is out itself: same address, strides and storage type."""
        return self.stored[position] == self.stored[out] and same_places(&self.looked[position], &self.looked[out])

    cdef object view(self, Py_ssize_t position):
        """The location of an array's elements, in the form that the CUDA dispatch takes."""
        return devices.View(*elements_of(&self.looked[position]))

    cdef str dtype(self):
        """Return the compute type."""
        return COMPUTE_TYPES[self.has_float64]


# ---- The reference


cdef int refuse_bfloat16_bits(list arrays) except -1:
    """Raise for bfloat16 arrays from DLPack, which NumPy does not support."""
    for array in arrays:
        if array.dtype.kind == "u":
            raise TypeError("backend 'reference' does not read bfloat16 from DLPack; expected ml_dtypes arrays")
    return 0


cdef int store_rounded(ndarray array, values) except -1:
    """Round the reference's results into an array."""
    with numpy.errstate(all="ignore"):  # like the kernels, do not warn of NaN and infinity
        array[...] = values.astype(array.dtype)
    return 0


cdef void *checked(void *memory) except NULL:
    if memory == NULL:
        raise MemoryError
    return memory
