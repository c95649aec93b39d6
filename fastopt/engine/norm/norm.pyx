# cython: language_level=3, boundscheck=False, wraparound=False
"""Runs a normalisation: a caller's arrays in, checked; tiles over threads; results out."""

import operator

import numpy

from fastopt.reference import norm as norm_reference
from fastopt.backends import find_host_backend, load_kernel, load_table
from fastopt.codegen.norm import TILE_KERNELS as KERNELS
from fastopt.engine.core import devices
from fastopt.engine.core.hyperparameters import Hyperparameters, flag as checked_flag, whole
from fastopt.engine.core.intake import STORAGE_NAMES
from fastopt.errors import BackendUnavailable
from fastopt.common.messages import brief
from fastopt.coefficients.ranges import RANGES
from fastopt.specs.dtypes import COMPUTE_TYPES

cimport cython
from numpy cimport ndarray, npy_intp

from fastopt.engine.core.exchange cimport wrote_all_but
from fastopt.engine.core.intake cimport (
    HOST,
    FLOAT32,
    FLOAT64,
    array_t,
    as_ndarray,
    check_memory,
    elements_of,
    expect_at,
    forget,
    is_unchanged,
    look,
    new_like,
    place,
    refuse_changed,
    refuse_overlaps,
    same_places,
    same_shape,
    shape_of,
    storage,
    view_of,
)
from fastopt.engine.core.pins cimport owns_its_memory, pin
from fastopt.engine.threads.threads cimport RELEASE_GIL_FROM, choose_threads, parallel_for, range_fn, threads_wanted

cimport numpy as cnp

cnp.import_array()

cdef extern from "Python.h":
    long PyLong_AsLongAndOverflow(object, int *) except? -1

cdef extern from "core/codecs.h" nogil:
    ctypedef struct codec_t:
        pass

cdef extern from "core/scratch_pool.h":
    void *take_memory(size_t)
    void leave_memory(void *)

cdef extern from "threads/parallel_for.h" nogil:
    ctypedef void (*parallel_for_fn)(range_fn, void *, Py_ssize_t, Py_ssize_t, int) noexcept

cdef extern from "norm/tile_kernel.h" nogil:
    enum:
        X
        DY
        Y
        RESIDUAL
        OUT
        DRESIDUAL
        ARRAYS
        PARAMETER_TERMS
        TILE_KERNELS
        WITH_RELU
        WITH_RESIDUAL
    ctypedef void (*tile_kernel_t)(void **, const Py_ssize_t *) noexcept

cdef extern from "norm/norm.h" nogil:
    enum:
        FIRST_PASS
        STATISTICS_PASSES
        REDUCE_PARTIAL
        REDUCERS
    enum layout:
        ROWS
    enum op:
        MOMENTS
        FORWARD
        INFERENCE
        ADDITION
        ADDITION_BACKWARD
        BACKWARD
        BACKWARD_INFERENCE
    ctypedef struct axes_t:
        int ndim
        Py_ssize_t count
    enum vector:
        WEIGHTS
        BIASES
        MEANS
        RSTDS
        VARS
        DWEIGHTS
        DBIASES
        RUNNING_MEANS
        RUNNING_VARS
        VECTORS
    ctypedef struct vector_t:
        char *data
        storage storage_of "storage"
        int ndim
    ctypedef struct norm_t:
        op op_ "op"
        axes_t outer, channels, space
        Py_ssize_t groups, per_group
        char *data[7]
        storage storage_of "storage"[7]
        storage compute
        int variant
        const codec_t *codecs
        bint is_ahead_of_time
        double eps, momentum
        bint is_unbiased
        vector_t vectors[VECTORS]
        double *mean
        double *var
        layout layout_ "layout"
        Py_ssize_t values
        storage element
        int reductions[REDUCERS][STATISTICS_PASSES]
        int apply, reduce_variant
        tile_kernel_t reduce_kernels[REDUCERS][STATISTICS_PASSES]
        tile_kernel_t apply_kernel, parameters_kernel
        char *scratch
        parallel_for_fn parallel_for
    void add_axis(norm_t *, axes_t *, Py_ssize_t, const Py_ssize_t *)
    void add_vector_axis(vector_t *, Py_ssize_t, Py_ssize_t)
    double largest_of(storage)
    size_t plan_norm(norm_t *, int)
    void run_norm(norm_t *, int)

BATCH, INSTANCE, GROUP, LAYER = range(4)

cdef class Checked:
    """A hyperparameter of the norms. A float that is in its range is not worth a Python call."""

    cdef object check
    cdef double lowest
    cdef double highest

    def __init__(self, name):
        self.check = Hyperparameters(name)
        self.lowest, self.highest, _ = RANGES[name]

    cdef double value(self, given) except? -1.0:
        if type(given) is float and self.lowest <= <double>given <= self.highest:
            return given
        return self.check(given)[0]


cdef Checked checked_eps = Checked("eps")
cdef Checked checked_momentum = Checked("momentum")


# ---- Kernels


cdef class Kernels:
    """A backend's kernels for arrays of one storage, fetched when they are first used."""

    cdef str backend
    cdef str dtype
    cdef tile_kernel_t kernels[TILE_KERNELS][4]
    cdef const codec_t *codecs
    cdef bint built  # ahead of time: then there are kernels of bfloat16, full reducers, and non-temporal stores

    cdef tile_kernel_t fetch(self, int kernel, int variant) except NULL:
        cdef size_t address
        if self.kernels[kernel][variant] == NULL:
            address = load_kernel(self.backend, "norm", KERNELS[kernel].name, self.dtype, variant)
            self.kernels[kernel][variant] = <tile_kernel_t>address
        return self.kernels[kernel][variant]


cdef dict fetched = {}
cdef Kernels default_float32 = None


cdef Kernels kernels_of(backend, storage element):
    """The kernels whose arrays store this."""
    global default_float32
    cdef Kernels kernels
    cdef size_t codecs
    if backend is None and element == FLOAT32 and default_float32 is not None:
        return default_float32
    key = (backend, element)
    if key in fetched:
        return <Kernels>fetched[key]
    kernels = Kernels.__new__(Kernels)
    kernels.backend = "cython" if backend is None else backend
    kernels.dtype = STORAGE_NAMES[<int>element]
    find_host_backend(kernels.backend, "x")
    codecs = load_table("codecs", COMPUTE_TYPES[element == FLOAT64])
    kernels.codecs = <const codec_t *>codecs
    kernels.built = kernels.backend == "cython"
    fetched[key] = kernels
    default_float32 = fetched.get((None, FLOAT32))
    return kernels


# ---- A call's arrays

# Statistics, and channels, for which there is no memory anyway; the products below stay within 64 bits.
cdef Py_ssize_t MAX_STATISTICS = <Py_ssize_t>1 << 40

cdef enum:
    MAX_CALL_ARRAYS = 12
    NONE = -1  # the position of an array that is not given

# The numbers of the kinds, for speed.
cdef enum:
    BATCH_KIND = 0
    GROUP_KIND = 2
    LAYER_KIND = 3
    ADDITION_KIND = 4  # no norm

REFERENCE_FORWARD = (
    norm_reference.batch_norm_forward,
    norm_reference.instance_norm_forward,
    norm_reference.group_norm_forward,
    norm_reference.layer_norm_forward,
)
REFERENCE_BACKWARD = (
    norm_reference.batch_norm_backward,
    norm_reference.instance_norm_backward,
    norm_reference.group_norm_backward,
    norm_reference.layer_norm_backward,
)


@cython.freelist(8)
cdef class Call:
    """One call: its arrays as they are checked, and the plan that they become."""

    cdef list arrays
    cdef list names
    cdef list pins
    cdef bint is_held  # all arrays are pinned: Python may run until the call is over, and the GIL be released
    cdef storage stored[MAX_CALL_ARRAYS]
    cdef array_t *looked  # behind the norm
    cdef int nlooked
    cdef unsigned long long only_read
    cdef Py_ssize_t positions[7]  # of the arrays of x's shape, by slot
    cdef bint has_float64
    cdef bint is_reference
    cdef int device  # HOST, or the number of the CUDA device that all arrays are on
    cdef int kind
    cdef object axis
    cdef object groups
    cdef int channel  # its axis; of a layer norm, the first
    cdef int statistic_ndim
    cdef npy_intp statistic_dims[64]
    cdef object backend
    cdef object stream
    cdef int wanted
    cdef Kernels kernels
    cdef norm_t *norm
    cdef char *scratch

    def __cinit__(self):
        self.arrays = []
        self.names = []
        self.device = HOST
        self.scratch = NULL
        self.norm = <norm_t *>take_memory(sizeof(norm_t) + MAX_CALL_ARRAYS * sizeof(array_t))
        if self.norm == NULL:
            raise MemoryError
        self.looked = <array_t *>(self.norm + 1)

    def __dealloc__(self):
        cdef int i
        for i in range(self.nlooked):
            forget(&self.looked[i])
        leave_memory(self.scratch)
        leave_memory(self.norm)

    # ---- Intake, in two turns: first all of the callers' own code (__dlpack__, say) runs, then arrays are looked at.

    cdef Py_ssize_t add(self, object array, str name, bint written) except? -1:
        """Take an array that may be None; return its position."""
        return NONE if array is None else self.take(array, name, written)

    cdef Py_ssize_t need(self, object array, str name) except? -1:
        """Take an array that is read and may not be None; return its position."""
        return self.take(array, name, False)

    cdef Py_ssize_t take(self, object array, str name, bint written) except? -1:
        cdef Py_ssize_t position = len(self.arrays)
        cdef int device
        self.arrays.append(as_ndarray(array, name, &self.stored[position], &device))
        if device != self.device:
            if position > 0:
                raise ValueError(f"{name} is {place(device)}; expected it {place(self.device)}, where {self.names[0]} is")
            self.device = device
        self.names.append(name)
        if not written:
            self.only_read |= <unsigned long long>1 << position
        return position

    cdef Py_ssize_t own(self, ndarray array, str name) except? -1:
        """Take an array of which nobody else knows."""
        cdef Py_ssize_t position = self.take(array, name, True)
        self.has_float64 |= self.stored[position] == FLOAT64
        self.look_at(position)
        return position

    cdef Py_ssize_t own_like(self, Py_ssize_t position, str name) except? -1:
        """Make an array like another one, and take it."""
        cdef Py_ssize_t made = self.own(new_like(<ndarray>self.arrays[position], self.stored[position], name), name)
        if not same_shape(&self.looked[made], &self.looked[position]):
            refuse_changed(self.names[position])
        return made

    cdef int look_at(self, Py_ssize_t position) except -1:
        self.looked[position].dims = self.looked[position].few
        self.nlooked = <int>position + 1
        return look(&self.looked[position], <ndarray>self.arrays[position], self.stored[position], self.names[position])

    cdef int look(self) except -1:
        """Check every array by itself, work out x's axes and the shapes that follow, and compare those of its shape."""
        cdef Py_ssize_t i
        cdef int slot
        self.pin()
        for i in range(len(self.arrays)):
            self.look_at(i)
            check_memory(<ndarray>self.arrays[i], <str>self.names[i], not self.only_read >> i & 1)
            self.has_float64 |= self.stored[i] == FLOAT64
        self.look_at_axes()
        for slot in range(ARRAYS):
            self.expect_like_x(self.positions[slot])
        return 0

    cdef int pin(self) except -1:
        """Pin all arrays where the GIL may be released, or else those that own no memory: see `Intake`."""
        cdef Py_ssize_t i
        self.is_held = self.backend is not None or cnp.PyArray_SIZE(<ndarray>self.arrays[0]) * ARRAYS >= RELEASE_GIL_FROM
        for i in range(len(self.arrays)):
            if self.is_held or not owns_its_memory(<ndarray>self.arrays[i]):
                if self.pins is None:
                    self.pins = []
                pin(self.pins, self.arrays[i])
            if self.backend is not None:  # the reference reads and writes by NumPy: nobody else may reshape what it has
                self.arrays[i] = view_of(<ndarray>self.arrays[i], self.stored[i], <str>self.names[i])
        return 0

    cdef int expect_unchanged(self) except -1:
        """Raise if an array that is not pinned is no longer what was looked at."""
        cdef Py_ssize_t i
        for i in range(0 if self.is_held else self.nlooked):
            if not is_unchanged(<ndarray>self.arrays[i], &self.looked[i]):
                refuse_changed(self.names[i])
        return 0

    cdef int look_at_axes(self) except -1:
        cdef npy_intp *dims = self.looked[0].dims
        cdef int ndim = self.looked[0].ndim, least = 1 if self.kind == LAYER_KIND else 2, i
        self.norm.groups = 1
        if self.kind == ADDITION_KIND:
            return 0
        if ndim < least:
            plural = "axis" if least == 1 else "axes"
            raise ValueError(f"x has shape {self.x_shape()}; expected at least {least} {plural}")
        self.channel = axis_of(self.axis, ndim, least - 1)
        self.norm.groups = dims[self.channel]
        if self.kind == LAYER_KIND:
            self.norm.groups = 1
            self.statistic_ndim = self.channel
            for i in range(self.channel):
                self.statistic_dims[i] = dims[i]
            return 0
        if self.kind == GROUP_KIND:
            self.norm.groups = self.groups
            if dims[self.channel] % self.norm.groups:
                raise ValueError(f"groups is {self.groups}; expected a divisor of the {dims[self.channel]} channels of x")
        self.statistic_ndim = 0
        if self.kind != BATCH_KIND:
            self.statistic_dims[0] = dims[0]
            self.statistic_ndim = 1
        self.statistic_dims[self.statistic_ndim] = self.norm.groups
        self.statistic_ndim += 1
        return 0

    cdef int expect_like_x(self, Py_ssize_t position) except -1:
        """Raise unless the array has x's shape, if it is given."""
        if position != NONE and not same_shape(&self.looked[position], &self.looked[0]):
            self.refuse_shape(position, self.x_shape(), f"{self.names[0]}'s")
        return 0

    cdef int expect_channels(self, Py_ssize_t position) except -1:
        """Raise unless the array has one value for each channel."""
        cdef int ndim = self.looked[0].ndim - self.channel if self.kind == LAYER_KIND else 1
        if position != NONE and not has_dims(&self.looked[position], ndim, self.looked[0].dims + self.channel):
            self.refuse_shape(position, self.channel_shape(), "one for each channel")
        return 0

    cdef int expect_statistics(self, Py_ssize_t position) except -1:
        """Raise unless the array has one value for each statistic."""
        if position != NONE and not has_dims(&self.looked[position], self.statistic_ndim, self.statistic_dims):
            self.refuse_shape(position, self.statistic_shape(), "one for each statistic")
        return 0

    cdef int refuse_shape(self, Py_ssize_t position, tuple shape, str which) except -1:
        got = shape_of(&self.looked[position])
        raise ValueError(f"{self.names[position]} has shape {got}; expected {shape}, {which}")

    cdef tuple x_shape(self):
        return shape_of(&self.looked[0])

    cdef tuple channel_shape(self):
        return self.x_shape()[self.channel : None if self.kind == LAYER_KIND else self.channel + 1]

    cdef tuple statistic_shape(self):
        return tuple([self.statistic_dims[axis] for axis in range(self.statistic_ndim)])

    cdef int find_backend(self) except -1:
        """Raise if the backend can't run."""
        expect_at(self.device, self.names[0], self.backend, self.stream)
        if self.device != HOST:
            return 0
        self.is_reference = self.backend is not None and self.backend == "reference"
        if not self.is_reference:
            self.kernels = kernels_of(self.backend, FLOAT64 if self.has_float64 else FLOAT32)
        return 0

    cdef int refuse_overlaps(self) except -1:
        return refuse_overlaps(self.looked, self.names, self.only_read)

    cdef int refuse_overlaps_but_in_place(self) except -1:
        """The same, but that what is read may be out itself: each such array is left out."""
        cdef Py_ssize_t out = self.positions[OUT], i
        cdef array_t others[MAX_CALL_ARRAYS]
        cdef list names = []
        if out == NONE:
            return self.refuse_overlaps()
        for i in range(out):
            if self.stored[i] != self.stored[out] or not same_places(&self.looked[i], &self.looked[out]):
                others[len(names)] = self.looked[i]
                names.append(self.names[i])
        others[len(names)] = self.looked[out]
        names.append(self.names[out])
        return refuse_overlaps(others, names, (<unsigned long long>1 << (len(names) - 1)) - 1)  # all but out are only read

    cdef tuple results(self, tuple given, const Py_ssize_t *positions):
        """What the call returns: the caller's own objects where there are some, which are now written."""
        cdef Py_ssize_t i
        wrote_all_but(given, -1, 1)
        cdef bint complete = True
        for i in range(len(given)):
            complete &= given[i] is not None
        if complete:
            return given
        return tuple([self.arrays[positions[i]] if given[i] is None else given[i] for i in range(len(given))])

    # ---- The plan

    cdef int plan(self, op direction) except -1:
        """Fill in the plan, but for what the pass adds."""
        cdef norm_t *norm = self.norm
        cdef int slot, which
        norm.op_ = direction
        norm.compute = FLOAT64 if self.has_float64 else FLOAT32
        norm.codecs = self.kernels.codecs
        norm.is_ahead_of_time = self.kernels.built
        for slot in range(ARRAYS):
            norm.data[slot] = NULL
            if self.positions[slot] != NONE:
                norm.data[slot] = self.looked[self.positions[slot]].data
                norm.storage_of[slot] = self.stored[self.positions[slot]]
        norm.outer.count = norm.channels.count = norm.space.count = 1
        norm.outer.ndim = norm.channels.ndim = norm.space.ndim = 0
        if self.kind == ADDITION_KIND:
            self.add_axes_in_memory_order()
            norm.per_group = 1
            return 0
        self.add_axes()
        norm.per_group = norm.channels.count // norm.groups if norm.groups else 1
        # An array without elements may have any number of channels or samples.
        if norm.channels.count > MAX_STATISTICS or norm.outer.count > MAX_STATISTICS // max(norm.channels.count, 1):
            raise MemoryError(f"x has shape {self.x_shape()}: too many statistics, or weights, for any memory")
        for which in range(<int>VECTORS):
            norm.vectors[which].data = NULL
        return 0

    cdef int add_axes(self) except -1:
        cdef Py_ssize_t strides[7]
        cdef int axis, slot
        cdef axes_t *axes
        cdef const array_t *x = &self.looked[0]
        for axis in range(x.ndim):
            for slot in range(ARRAYS):
                strides[slot] = 0
                if self.positions[slot] != NONE:
                    strides[slot] = self.looked[self.positions[slot]].strides[axis]
            if axis == self.channel or (self.kind == LAYER_KIND and axis > self.channel):
                axes = &self.norm[0].channels
            elif self.kind == LAYER_KIND or (self.kind != BATCH_KIND and axis == 0):
                axes = &self.norm[0].outer
            else:
                axes = &self.norm[0].space
            add_axis(self.norm, axes, x.dims[axis], strides)
        return 0

    cdef int add_axes_in_memory_order(self) except -1:
        """All axes are space: those along which the first array's neighbours stand far apart are walked outside."""
        cdef Py_ssize_t strides[7]
        cdef int order[64]
        cdef int axis, slot, k
        cdef const array_t *x = &self.looked[0]
        for axis in range(x.ndim):
            k = axis
            while k > 0 and abs(x.strides[order[k - 1]]) < abs(x.strides[axis]):
                order[k] = order[k - 1]
                k -= 1
            order[k] = axis
        for k in range(x.ndim):
            for slot in range(ARRAYS):
                strides[slot] = 0
                if self.positions[slot] != NONE:
                    strides[slot] = self.looked[self.positions[slot]].strides[order[k]]
            add_axis(self.norm, &self.norm[0].space, x.dims[order[k]], strides)
        return 0

    cdef void point(self, vector which, Py_ssize_t position) noexcept:
        """Say where weights or statistics stand, if they are given."""
        cdef vector_t *place = &self.norm.vectors[<int>which]
        cdef const array_t *array
        cdef int axis
        if position != NONE:
            array = &self.looked[position]
            place.data = array.data
            place.storage_of = array.stored
            place.ndim = 0
            for axis in range(array.ndim):
                add_vector_axis(place, array.dims[axis], array.strides[axis])

    cdef int run(self) except -1:
        cdef Kernels kernels = self.kernels
        cdef norm_t *norm = self.norm
        cdef Py_ssize_t elements = 0
        cdef int threads, slot, reducer, statistics_pass, kernel, variant
        for slot in range(ARRAYS):
            if norm.data[slot] != NULL:
                elements += norm.outer.count * norm.channels.count * norm.space.count
        threads = choose_threads(elements, self.wanted)
        norm.parallel_for = parallel_for
        norm.scratch = NULL
        norm.scratch = self.scratch = <char *>take_memory(plan_norm(norm, threads))
        if self.scratch == NULL:
            raise MemoryError
        plan_norm(norm, threads)
        if norm.element != norm.compute:
            kernels = kernels_of(self.backend, norm.element)
        for reducer in range(REDUCERS):
            for statistics_pass in range(STATISTICS_PASSES):
                norm.reduce_kernels[reducer][statistics_pass] = NULL
                kernel = norm.reductions[reducer][statistics_pass]
                if kernel != TILE_KERNELS and (kernels.built or reducer == REDUCE_PARTIAL):
                    variant = norm.reduce_variant if statistics_pass == FIRST_PASS else 0
                    norm.reduce_kernels[reducer][statistics_pass] = kernels.fetch(kernel, variant)
        if norm.apply != TILE_KERNELS:
            norm.apply_kernel = kernels.fetch(norm.apply, norm.variant)
        if norm.layout_ == ROWS and norm.op_ == BACKWARD:
            norm.parameters_kernel = kernels.fetch(PARAMETER_TERMS, norm.reduce_variant)
        self.expect_unchanged()  # last: all above may have let other code run
        if not self.is_held or elements < RELEASE_GIL_FROM:
            run_norm(norm, threads)
        else:
            with nogil:
                run_norm(norm, threads)
        return 0

    # ---- The reference

    cdef int run_reference(
        self, function, dict arguments, const Py_ssize_t *written, Py_ssize_t count, dict hyperparameters
    ) except -1:
        """Compute in float64 copies by the plain formula, then round what is written into the caller's arrays."""
        if any(array.dtype.kind == "u" for array in self.arrays):
            raise TypeError("backend 'reference' does not read bfloat16 from DLPack; expected ml_dtypes arrays")
        wanted = function.__code__.co_varnames[: function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
        copies = {
            name: None if position == NONE else self.arrays[position].astype("float64")
            for name, position in arguments.items()
        }
        named = {name: value for name, value in {**hyperparameters, **copies}.items() if name in wanted}
        with numpy.errstate(all="ignore"):  # kernels do not warn of NaN and infinity either
            results = function(**named)
            results = results if count > 1 else (results,)
            for i in range(count):
                array = self.arrays[written[i]]
                array[...] = results[i].astype(array.dtype)
            for name in ("running_mean", "running_var"):
                if arguments.get(name, NONE) != NONE and not self.only_read >> arguments[name] & 1:
                    array = self.arrays[arguments[name]]
                    largest = largest_of(self.stored[arguments[name]])
                    values = copies[name]
                    values[numpy.isfinite(values)] = values[numpy.isfinite(values)].clip(-largest, largest)
                    array[...] = values.astype(array.dtype)
        return 0


cdef bint has_dims(const array_t *array, int ndim, const npy_intp *dims) noexcept:
    cdef int axis
    if array.ndim != ndim:
        return False
    for axis in range(ndim):
        if array.dims[axis] != dims[axis]:
            return False
    return True


cdef object as_int(str name, value):
    """A whole number of any type as an int, before any array is looked at: it may have code of its own."""
    if type(value) is int:
        return value
    what = f"{name} is {brief(value)}, a {type(value).__name__}; expected a whole number"
    if isinstance(value, (bool, numpy.bool_)):
        raise TypeError(what)
    try:
        return operator.index(value)
    except Exception as error:
        raise TypeError(what) from error


cdef int axis_of(object axis, int ndim, int least) except -1:
    cdef int overflow = 0
    cdef long at = PyLong_AsLongAndOverflow(axis, &overflow)
    if overflow or not (least <= at < ndim or least - ndim <= at < 0):
        expected = f"a whole number from {least} to {ndim - 1}, or from {least - ndim} to -1"
        raise ValueError(f"axis is {brief(axis)}; expected {expected}")
    return <int>(at + ndim if at < 0 else at)


cdef int variant_of(activation, bint residual) except -1:
    if activation is None:
        return WITH_RESIDUAL if residual else 0
    if not isinstance(activation, str):
        raise TypeError(f"activation is {brief(activation)}, a {type(activation).__name__}; expected None or 'relu'")
    if activation != "relu":
        raise ValueError(f"activation is {brief(activation)}; expected None or 'relu'")
    return WITH_RELU | (WITH_RESIDUAL if residual else 0)


cdef bint flag(str name, value) except -1:
    return value if type(value) is bool else checked_flag(name, value)


cdef tuple outputs_of(out, tuple names):
    """The arrays that ``out`` gives, in the order of what is returned; None for those that it leaves to us."""
    if not isinstance(out, (tuple, list)):
        return (out, *(None,) * (len(names) - 1))
    if len(out) != len(names):
        raise ValueError(f"out has {len(out)} members; expected {len(names)}: {', '.join(names)}")
    return tuple(out)


cdef ndarray statistic(Call call, tuple shape):
    cdef npy_intp dims[64]
    cdef Py_ssize_t i
    for i in range(len(shape)):
        dims[i] = shape[i]
    return cnp.PyArray_EMPTY(<int>len(shape), dims, cnp.NPY_DOUBLE if call.has_float64 else cnp.NPY_FLOAT, 0)


# ---- The passes


cdef Call start(int kind, axis, groups, activation, bint residual, eps, backend, num_threads, stream):
    cdef Call call = Call.__new__(Call)
    cdef int slot
    call.kind = kind
    call.axis = as_int("axis", axis)
    call.groups = whole("groups", groups, "a whole number, 1 or more") if kind == GROUP_KIND else 0
    call.norm.variant = variant_of(activation, residual)
    call.norm.eps = checked_eps.value(eps)
    call.wanted = threads_wanted(num_threads)
    if backend is not None and not isinstance(backend, str):
        raise TypeError(f"backend is {brief(backend)}, a {type(backend).__name__}; expected None or a string")
    call.backend = backend
    call.stream = stream
    for slot in range(ARRAYS):
        call.positions[slot] = NONE
    return call


def forward(
    int kind, x, weight, bias, running_mean, running_var, residual, out, axis, groups, momentum, eps, unbiased,
    activation, backend, num_threads, stream=None,
):
    """Normalise by statistics of x; return y, mean and rstd, and update the running statistics."""
    cdef Call call = start(kind, axis, groups, activation, residual is not None, eps, backend, num_threads, stream)
    cdef Py_ssize_t at_weight, at_bias, at_running_mean, at_running_var, at_mean, at_rstd
    cdef double rate = checked_momentum.value(momentum)
    cdef bint is_unbiased = flag("unbiased", unbiased)
    cdef tuple given = outputs_of(out, ("y", "mean", "rstd"))
    if (running_mean is None) != (running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise ValueError(f"{missing} is None; expected an array, as the other running statistic is given")
    call.positions[X] = call.need(x, "x")
    at_weight = call.add(weight, "weight", False)
    at_bias = call.add(bias, "bias", False)
    at_running_mean = call.add(running_mean, "running_mean", True)
    at_running_var = call.add(running_var, "running_var", True)
    call.positions[RESIDUAL] = call.add(residual, "residual", False)
    call.positions[OUT] = call.add(given[0], "y", True)
    at_mean = call.add(given[1], "mean", True)
    at_rstd = call.add(given[2], "rstd", True)
    call.look()
    call.expect_channels(at_weight)
    call.expect_channels(at_bias)
    call.expect_channels(at_running_mean)
    call.expect_channels(at_running_var)
    call.expect_statistics(at_mean)
    call.expect_statistics(at_rstd)
    call.find_backend()
    call.refuse_overlaps()
    if call.device != HOST:
        return run_on_device(
            call, "forward",
            {"x": call.positions[X], "weight": at_weight, "bias": at_bias, "running_mean": at_running_mean,
             "running_var": at_running_var, "residual": call.positions[RESIDUAL], "out": call.positions[OUT],
             "mean": at_mean, "rstd": at_rstd},
            (x, weight, bias, running_mean, running_var, residual, *given),
            tuple(zip(("out", "mean", "rstd"), given, (None, call.statistic_shape(), call.statistic_shape()))),
            (running_mean, running_var), rate, is_unbiased,
        )

    if call.positions[OUT] == NONE:
        call.positions[OUT] = call.own_like(0, "y")
    if at_mean == NONE:
        at_mean = call.own(statistic(call, call.statistic_shape()), "mean")
    if at_rstd == NONE:
        at_rstd = call.own(statistic(call, call.statistic_shape()), "rstd")
    cdef Py_ssize_t[3] written = [call.positions[OUT], at_mean, at_rstd]
    results = call.results(given, written)
    if call.is_reference:
        call.run_reference(
            REFERENCE_FORWARD[kind],
            {"x": call.positions[X], "weight": at_weight, "bias": at_bias, "running_mean": at_running_mean,
             "running_var": at_running_var, "residual": call.positions[RESIDUAL]},
            written, 3,
            {"momentum": rate, "eps": call.norm.eps, "axis": call.axis, "unbiased": bool(is_unbiased),
             "activation": activation, "groups": call.groups},
        )
        return results

    call.plan(FORWARD)
    call.norm.momentum = rate
    call.norm.is_unbiased = is_unbiased
    call.point(WEIGHTS, at_weight)
    call.point(BIASES, at_bias)
    call.point(MEANS, at_mean)
    call.point(RSTDS, at_rstd)
    call.point(RUNNING_MEANS, at_running_mean)
    call.point(RUNNING_VARS, at_running_var)
    call.run()
    if call.norm.values:
        wrote_all_but((running_mean, running_var), -1, 1)
    return results


def inference(
    x, weight, bias, running_mean, running_var, residual, out, axis, eps, activation, backend, num_threads,
    stream=None,
):
    """Normalise by given statistics; return y."""
    cdef Call call = start(BATCH_KIND, axis, None, activation, residual is not None, eps, backend, num_threads, stream)
    cdef Py_ssize_t at_weight, at_bias, at_mean, at_var
    call.positions[X] = call.need(x, "x")
    at_weight = call.add(weight, "weight", False)
    at_bias = call.add(bias, "bias", False)
    at_mean = call.need(running_mean, "running_mean")
    at_var = call.need(running_var, "running_var")
    call.positions[RESIDUAL] = call.add(residual, "residual", False)
    call.positions[OUT] = call.add(out, "out", True)
    call.look()
    call.expect_channels(at_weight)
    call.expect_channels(at_bias)
    call.expect_channels(at_mean)
    call.expect_channels(at_var)
    call.find_backend()
    call.refuse_overlaps()
    if call.device != HOST:
        return run_on_device(
            call, "inference",
            {"x": call.positions[X], "weight": at_weight, "bias": at_bias, "mean": at_mean, "var": at_var,
             "residual": call.positions[RESIDUAL], "out": call.positions[OUT]},
            (x, weight, bias, running_mean, running_var, residual, out), (("out", out, None),), (), 0, True,
        )[0]

    if out is None:
        call.positions[OUT] = call.own_like(0, "out")
    results = call.results((out,), &call.positions[OUT])
    if call.is_reference:
        call.run_reference(
            norm_reference.batch_norm_inference,
            {"x": call.positions[X], "weight": at_weight, "bias": at_bias, "running_mean": at_mean,
             "running_var": at_var, "residual": call.positions[RESIDUAL]},
            &call.positions[OUT], 1,
            {"eps": call.norm.eps, "axis": call.axis, "activation": activation},
        )
        return results[0]

    call.plan(INFERENCE)
    call.point(WEIGHTS, at_weight)
    call.point(BIASES, at_bias)
    call.point(MEANS, at_mean)
    call.point(VARS, at_var)
    call.run()
    return results[0]


def backward(
    int kind, dy, x, weight, mean, rstd, y, out, axis, groups, activation, residual, backend, num_threads,
    stream=None,
):
    """Return dx, dweight and dbias, and dresidual if residual is True, where mean and rstd depend on x."""
    return run_backward(
        kind, BACKWARD, dy, x, weight, (mean, rstd), ("mean", "rstd"), y, out, axis, groups, 0.0, activation, residual,
        backend, num_threads, stream,
    )


def backward_inference(
    dy, x, weight, running_mean, running_var, y, out, axis, eps, activation, residual, backend, num_threads,
    stream=None,
):
    """As `backward`, where the statistics are constants."""
    return run_backward(
        BATCH_KIND, BACKWARD_INFERENCE, dy, x, weight, (running_mean, running_var), ("running_mean", "running_var"), y,
        out, axis, None, eps, activation, residual, backend, num_threads, stream,
    )


cdef tuple run_backward(
    int kind, op direction, dy, x, weight, tuple statistics, tuple statistics_names, y, out, axis, groups, eps,
    activation, residual, backend, num_threads, stream,
):
    cdef bint with_residual = flag("residual", residual)
    cdef Call call = start(kind, axis, groups, activation, with_residual, eps, backend, num_threads, stream)
    cdef Py_ssize_t at_weight, at_first, at_second, at_dweight, at_dbias, at_y
    cdef tuple names = ("dx", "dweight", "dbias", "dresidual") if with_residual else ("dx", "dweight", "dbias")
    cdef tuple given = outputs_of(out, names)
    call.positions[X] = call.need(x, "x")
    call.positions[DY] = call.need(dy, "dy")
    at_weight = call.add(weight, "weight", False)
    at_first = call.need(statistics[0], statistics_names[0])
    at_second = call.need(statistics[1], statistics_names[1])
    at_y = call.add(y, "y", False)
    if activation is not None:
        if y is None:
            raise ValueError("y is None; expected what the forward pass returned, on which relu's gradient depends")
        call.positions[Y] = at_y
    call.positions[OUT] = call.add(given[0], "dx", True)
    at_dweight = call.add(given[1], "dweight", True)
    at_dbias = call.add(given[2], "dbias", True)
    if with_residual:
        call.positions[DRESIDUAL] = call.add(given[3], "dresidual", True)
    call.look()
    call.expect_like_x(at_y)
    call.expect_channels(at_weight)
    call.expect_channels(at_dweight)
    call.expect_channels(at_dbias)
    call.expect_statistics(at_first)
    call.expect_statistics(at_second)
    call.find_backend()
    call.refuse_overlaps()
    if call.device != HOST:
        kinds = (None, call.channel_shape(), call.channel_shape(), None)
        return run_on_device(
            call, "backward" if direction == BACKWARD else "backward_inference",
            {"x": call.positions[X], "dy": call.positions[DY], "weight": at_weight, "mean": at_first,
             "rstd" if direction == BACKWARD else "var": at_second, "y": call.positions[Y], "out": call.positions[OUT],
             "dweight": at_dweight, "dbias": at_dbias, "dresidual": call.positions[DRESIDUAL]},
            (x, dy, weight, *statistics, y, *given),
            tuple(zip(("out", *names[1:]), given, kinds)), (), 0, True,
        )

    if call.positions[OUT] == NONE:
        call.positions[OUT] = call.own_like(0, "dx")
    if at_dweight == NONE:
        at_dweight = call.own(statistic(call, call.channel_shape()), "dweight")
    if at_dbias == NONE:
        at_dbias = call.own(statistic(call, call.channel_shape()), "dbias")
    if with_residual and call.positions[DRESIDUAL] == NONE:
        call.positions[DRESIDUAL] = call.own_like(0, "dresidual")
    cdef Py_ssize_t[4] written = [call.positions[OUT], at_dweight, at_dbias, call.positions[DRESIDUAL]]
    results = call.results(given, written)
    if call.is_reference:
        call.run_reference(
            REFERENCE_BACKWARD[kind] if direction == BACKWARD else norm_reference.batch_norm_backward_inference,
            {"dy": call.positions[DY], "x": call.positions[X], "weight": at_weight, statistics_names[0]: at_first,
             statistics_names[1]: at_second, "y": at_y},
            written, len(given),
            {"axis": call.axis, "groups": call.groups, "eps": call.norm.eps, "activation": activation, "residual": with_residual},
        )
        return results

    call.plan(direction)
    call.point(WEIGHTS, at_weight)
    call.point(MEANS, at_first)
    call.point(RSTDS if direction == BACKWARD else VARS, at_second)
    call.point(DWEIGHTS, at_dweight)
    call.point(DBIASES, at_dbias)
    call.run()
    return results


def add(x, residual, out, activation, backend, num_threads, stream=None):
    """Return x + residual, after the activation."""
    cdef Call call = start(ADDITION_KIND, 0, None, activation, True, 0.0, backend, num_threads, stream)
    call.positions[X] = call.need(x, "x")
    call.positions[RESIDUAL] = call.need(residual, "residual")
    return run_addition(
        call, ADDITION, (x, residual, out), {"x": call.positions[X], "residual": call.positions[RESIDUAL]},
        norm_reference.residual_add, activation,
    )


def add_backward(dy, y, out, activation, backend, num_threads, stream=None):
    """Return what of dy the activation passed on."""
    cdef Call call = start(ADDITION_KIND, 0, None, activation, False, 0.0, backend, num_threads, stream)
    cdef Py_ssize_t at_y
    call.positions[DY] = call.need(dy, "dy")
    at_y = call.add(y, "y", False)
    if activation is not None:
        if y is None:
            raise ValueError("y is None; expected what the forward pass returned, on which relu's gradient depends")
        call.positions[Y] = at_y
    return run_addition(
        call, ADDITION_BACKWARD, (dy, y, out), {"dy": call.positions[DY], "y": at_y},
        norm_reference.residual_add_backward, activation,
    )


cdef object run_addition(Call call, op direction, tuple given, dict positions, reference, activation):
    """Check the arrays that a call has taken, and out, which may be one of them; run it, and return out."""
    cdef object out = given[2]
    call.positions[OUT] = call.add(out, "out", True)
    call.look()
    for position in positions.values():
        call.expect_like_x(position)
    call.find_backend()
    if direction == ADDITION_BACKWARD and call.norm.variant == 0 and out is None:
        return given[0]
    call.refuse_overlaps_but_in_place()
    if call.device != HOST:
        return run_on_device(
            call, "addition" if direction == ADDITION else "addition_backward",
            {**positions, "y": call.positions[Y], "out": call.positions[OUT]}, given, (("out", out, None),), (), 0, True,
        )[0]
    if out is None:
        call.positions[OUT] = call.own_like(0, "out")
    results = call.results((out,), &call.positions[OUT])
    if call.is_reference:
        call.run_reference(reference, positions, &call.positions[OUT], 1, {"activation": activation})
        return results[0]
    call.plan(direction)
    call.run()
    return results[0]


cdef tuple run_on_device(
    Call call, str direction, dict positions, tuple given, tuple results, tuple updated, double rate, bint is_unbiased
):
    """Hand a checked call to the device's side of the house: arrays by their roles, results with names and shapes."""
    cdef Py_ssize_t position, axis
    cdef list labels = []
    norms = devices.dispatch("norm")
    views = {}
    for role, position in positions.items():
        if position != NONE:
            views[role] = devices.View(*elements_of(&call.looked[position]))
    for axis in range(call.looked[0].ndim):
        if call.kind == ADDITION_KIND:
            labels.append("space")
        elif axis == call.channel or (call.kind == LAYER_KIND and axis > call.channel):
            labels.append("channel")
        else:
            labels.append("outer" if call.kind == LAYER_KIND or (call.kind != BATCH_KIND and axis == 0) else "space")
    running = [largest_of(call.stored[positions[role]]) for role in ("running_mean", "running_var") if role in views]
    returned = norms.run(
        direction, call.norm.variant, "float64" if call.has_float64 else "float32", tuple(labels),
        norms.LAYER if call.kind == LAYER_KIND else call.norm.groups, views, given[0], given,
        [norms.Result(*result) for result in results], norms.Numbers(call.norm.eps, rate, is_unbiased, *running),
        call.device, call.stream,
    )
    wrote_all_but(updated, -1, 1)
    return returned


def moments(x, axis, backend, num_threads):
    """Return the number of values of each channel, their mean, and the sum of their squared deviations from it."""
    cdef Call call = start(BATCH_KIND, axis, None, None, False, 0.0, backend, num_threads, None)
    cdef Py_ssize_t channel, values
    call.positions[X] = call.need(x, "x")
    if call.device != HOST:
        raise BackendUnavailable(f"x is {place(call.device)}; this version of fastopt has moments of host arrays only")
    call.look()
    call.find_backend()
    if call.is_reference:
        raise ValueError("backend is 'reference'; expected None, 'cython' or 'numba' for moments")
    call.plan(MOMENTS)
    call.run()
    values = call.norm.space.count
    mean = numpy.array([call.norm.mean[channel] for channel in range(call.norm.channels.count)])
    m2 = numpy.array([call.norm.var[channel] * values for channel in range(call.norm.channels.count)])
    return values, mean, m2
