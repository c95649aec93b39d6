# cython: language_level=3, boundscheck=False, wraparound=False
"""What the calls of all families have in common: options and arrays are checked, and a place to run is chosen.

A family brings its planner and its kernels. Updates have an intake of their own for their arrays (`Intake`), because a
call of 1 us can't pay for a list of names; what is checked of backends is here for them, too.
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
    """Return the kernels of a family for arrays of a type; their names are in the order of the family's enumeration."""
    cdef Kernels kernels
    cdef size_t codecs
    key = (family, backend, dtype)
    if key in loaded:
        return <Kernels>loaded[key]
    if len(names) > MAX_KERNELS:
        raise ValueError(f"{family} has {len(names)} kernels; expected {MAX_KERNELS} at most")
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


@cython.no_gc  # only C refers to a call, so it is in no cycle; this saves 0.05 us of a residual_add of 1.03 us (AVX-512, 2026-12)
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
        """Make room for what is known of the arrays, and for so many bytes of the family's own, which are returned."""
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
        """Take an array; return its position."""
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
        """The same of an array that may be None."""
        return NONE if array is None else self.take(array, name, written)

    cdef int hold(self, Py_ssize_t elements, bint runs_python) except -1:
        """Keep the arrays' memory until the call is over.

        All arrays are pinned if Python may run meanwhile, or other threads may because the call is large; else only
        those that own no memory are, and `expect_unchanged` must be called last. If Python runs, the call goes on with
        views, which nobody else can reshape.
        """
        cdef Py_ssize_t i
        self.is_held = runs_python or elements >= RELEASE_GIL_FROM
        self.pins = pin_from(self.arrays, 0, self.is_held, self.pins)
        for i in range(len(self.arrays) if runs_python else 0):
            self.arrays[i] = view_of(<ndarray>self.arrays[i], self.stored[i], <str>self.names[i])
        return 0

    cdef int check(self, Py_ssize_t position) except -1:
        """Look at an array, and raise unless it can be used as it will be."""
        self.look_at(position)
        check_memory(<ndarray>self.arrays[position], <str>self.names[position], not self.only_read >> position & 1)
        self.has_float64 |= self.stored[position] == FLOAT64
        return 0

    cdef int look_at(self, Py_ssize_t position) except -1:
        self.looked[position].dims = self.looked[position].few
        self.nlooked = <int>position + 1
        return look(&self.looked[position], <ndarray>self.arrays[position], self.stored[position], self.names[position])

    cdef Py_ssize_t own(self, ndarray array, str name) except -1:
        """Take an array of which nobody else knows."""
        cdef Py_ssize_t position = self.take(array, name, True)
        self.has_float64 |= self.stored[position] == FLOAT64
        self.look_at(position)
        return position

    cdef Py_ssize_t own_like(self, Py_ssize_t position, str name) except -1:
        """Make an array like another one, and take it."""
        cdef Py_ssize_t made = self.own(new_like(<ndarray>self.arrays[position], self.stored[position], name), name)
        if not same_shape(&self.looked[made], &self.looked[position]):
            refuse_changed(self.names[position])
        return made

    cdef int choose_backend(self) except -1:
        """Raise if the backend can't run where the arrays are, or the stream is of elsewhere."""
        expect_at(self.device, self.names[0], self.backend, self.stream)
        if self.device == HOST and self.backend is not None and not self.is_reference:
            find_host_backend(self.backend, self.names[0])
        return 0

    cdef int expect_unchanged(self) except -1:
        """Raise if an array that is not pinned is no longer what was looked at."""
        cdef Py_ssize_t i
        for i in range(0 if self.is_held else self.nlooked):
            if not is_unchanged(<ndarray>self.arrays[i], &self.looked[i]):
                refuse_changed(self.names[i])
        return 0

    cdef int refuse_overlaps(self) except -1:
        """Raise if an array that is written shares an element with another one."""
        return refuse_overlaps(self.looked, self.names, self.only_read)

    cdef int refuse_overlaps_but_in_place(self, Py_ssize_t out) except -1:
        """The same, but that what is read may be out itself: each such array is left out."""
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
        return refuse_overlaps(others, names, (<unsigned long long>1 << (len(names) - 1)) - 1)  # all but out are only read

    cdef bint is_in_place(self, Py_ssize_t position, Py_ssize_t out) noexcept:
        """True if an array is out itself: each element is in the same place, and is stored alike."""
        return self.stored[position] == self.stored[out] and same_places(&self.looked[position], &self.looked[out])

    cdef object view(self, Py_ssize_t position):
        """Where an array's elements are, as the CUDA dispatch takes it."""
        return devices.View(*elements_of(&self.looked[position]))

    cdef str dtype(self):
        """The compute type."""
        return COMPUTE_TYPES[self.has_float64]


# ---- The reference


cdef int refuse_bfloat16_bits(list arrays) except -1:
    """Raise for numbers that NumPy does not know, which DLPack exports."""
    for array in arrays:
        if array.dtype.kind == "u":
            raise TypeError("backend 'reference' does not read bfloat16 from DLPack; expected ml_dtypes arrays")
    return 0


cdef int store_rounded(ndarray array, values) except -1:
    """Round the reference's numbers into an array."""
    with numpy.errstate(all="ignore"):  # kernels do not warn of NaN and infinity either
        array[...] = values.astype(array.dtype)
    return 0


cdef void *checked(void *memory) except NULL:
    if memory == NULL:
        raise MemoryError
    return memory
