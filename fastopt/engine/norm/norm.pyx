# cython: language_level=3, boundscheck=False, wraparound=False
"""Runs a normalisation: checks the caller's arrays, plans the call, and runs kernels on threads or on a device."""

import operator

import numpy

from fastopt.reference import norm as norm_reference
from fastopt.specs.norms import ARRAYS as SLOTS, NORMS, OPS, TILE_KERNELS as KERNELS
from fastopt.engine.core import devices
from fastopt.engine.core.hyperparameters import Hyperparameters, flag as checked_flag, whole
from fastopt.engine.core.intake import STORAGE_NAMES
from fastopt.errors import BackendUnavailable
from fastopt.common.messages import brief
from fastopt.coefficients.ranges import RANGES

cimport cython
from numpy cimport ndarray, npy_intp

from fastopt.engine.call cimport (
    NONE, Call, Kernels, kernels_of, leave_memory, refuse_bfloat16_bits, releases_gil, take_memory,
)
from fastopt.engine.core.exchange cimport wrote_all_but
from fastopt.engine.core.intake cimport FLOAT32, FLOAT64, HOST, array_t, place, same_shape, shape_of, storage
from fastopt.engine.threads.threads cimport choose_threads, parallel_for, range_fn
from fastopt.engine.update.job cimport codec_t

cimport numpy as cnp

cnp.import_array()

cdef extern from "Python.h":
    long PyLong_AsLongAndOverflow(object, int *) except? -1

cdef extern from "threads/parallel_for.h" nogil:
    ctypedef void (*parallel_for_fn)(range_fn, void *, Py_ssize_t, Py_ssize_t, int) noexcept

cdef extern from "norm/tile_kernel.h" nogil:
    enum:
        X, DY, Y, RESIDUAL, OUT, DRESIDUAL, ARRAYS
        PARAMETER_TERMS, NO_KERNEL
        WITH_RELU, WITH_RESIDUAL
    ctypedef void (*tile_kernel_t)(void **, const Py_ssize_t *) noexcept

cdef extern from "norm/norm.h" nogil:
    enum:
        FIRST_PASS, STATISTICS_PASSES
        REDUCE_PARTIAL, REDUCERS
    enum layout:
        ROWS
    enum op:
        MOMENTS, FORWARD, INFERENCE, ADDITION, ADDITION_BACKWARD, BACKWARD, BACKWARD_INFERENCE
    ctypedef struct axes_t:
        int ndim
        Py_ssize_t count
    enum vector:
        WEIGHTS, BIASES, MEANS, RSTDS, VARS, DWEIGHTS, DBIASES, RUNNING_MEANS, RUNNING_VARS, VECTORS
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
    """A hyperparameter of the norms. A float within its range is accepted without a Python call."""

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

cdef tuple KERNEL_NAMES = tuple([kernel.name for kernel in KERNELS])
cdef Kernels default_float32 = None


cdef Kernels norm_kernels(backend, storage element):
    """Return the kernels for arrays of this storage type."""
    global default_float32
    if backend is not None or element != FLOAT32:
        return kernels_of("norm", KERNEL_NAMES, backend, STORAGE_NAMES[<int>element])
    if default_float32 is None:
        default_float32 = kernels_of("norm", KERNEL_NAMES, None, "float32")
    return default_float32


# ---- A call's arrays

# The maximum number of statistics or channels: more exceed any memory. The products below fit in 64 bits.
cdef Py_ssize_t MAX_STATISTICS = <Py_ssize_t>1 << 40

# The numbers of the kinds as C constants, for speed
cdef enum:
    BATCH_KIND = 0
    GROUP_KIND = 2
    LAYER_KIND = 3
    ADDITION_KIND = 4  # residual addition without a norm

# The functions of the reference, by kind.
cdef tuple REFERENCE_FORWARD = tuple([f"{norm}_norm_forward" for norm in NORMS])
cdef tuple REFERENCE_BACKWARD = tuple([f"{norm}_norm_backward" for norm in NORMS])

# Indices of a call's arrays: arrays of x's shape by slot, then vectors
cdef enum:
    WEIGHT = <int>ARRAYS + <int>WEIGHTS
    BIAS = <int>ARRAYS + <int>BIASES
    MEAN = <int>ARRAYS + <int>MEANS
    RSTD = <int>ARRAYS + <int>RSTDS
    VAR = <int>ARRAYS + <int>VARS
    DWEIGHT = <int>ARRAYS + <int>DWEIGHTS
    DBIAS = <int>ARRAYS + <int>DBIASES
    RUNNING_MEAN = <int>ARRAYS + <int>RUNNING_MEANS
    RUNNING_VAR = <int>ARRAYS + <int>RUNNING_VARS
    PLACES = <int>ARRAYS + <int>VECTORS

# Their names and those of the passes in the CUDA dispatch
cdef tuple PLACE_NAMES = (
    *SLOTS, "weight", "bias", "mean", "rstd", "var", "dweight", "dbias", "running_mean", "running_var",
)
cdef tuple PASS_NAMES = tuple([name.lower() for name in OPS])

# The indices of the arrays that passes return; created once, for speed
cdef tuple OUT_ALONE = (OUT,), NORMALISED = (OUT, MEAN, RSTD)
cdef tuple GRADIENTS = (OUT, DWEIGHT, DBIAS), GRADIENTS_AND_RESIDUAL = (*GRADIENTS, DRESIDUAL)


@cython.final
@cython.no_gc
cdef class NormCall(Call):
    """One call: its checked arrays and its plan."""

    cdef Py_ssize_t positions[7 + 9]  # positions of the arrays, by index
    cdef int kind
    cdef object axis
    cdef object groups
    cdef int channel  # the channel axis; of a layer norm, the first
    cdef int statistic_ndim
    cdef npy_intp *statistic_dims  # allocated after the norm
    cdef norm_t *norm
    cdef char *scratch

    def __cinit__(self):
        self.scratch = NULL
        self.norm = <norm_t *>self.reserve(sizeof(norm_t) + 64 * sizeof(npy_intp))
        self.statistic_dims = <npy_intp *>(self.norm + 1)

    def __dealloc__(self):
        leave_memory(self.scratch)

    cdef int look(self) except -1:
        """Check each array, derive the axes and the shapes of the other arrays from x, and compare these."""
        cdef Py_ssize_t i, position
        cdef int place
        cdef bint of_statistics
        self.hold(cnp.PyArray_SIZE(<ndarray>self.arrays[0]) * ARRAYS, self.backend is not None)
        for i in range(len(self.arrays)):
            self.check(i)
        self.look_at_axes()
        for place in range(<int>ARRAYS):
            position = self.positions[place]
            if position != NONE and not same_shape(&self.looked[position], &self.looked[0]):
                self.refuse_shape(position, shape_of(&self.looked[0]), f"the shape of {self.names[0]}")
        for of_statistics in range(2):  # vectors with one value per channel first
            for place in range(<int>ARRAYS, PLACES):
                if self.positions[place] != NONE and self.is_of_statistics(place) == of_statistics:
                    self.expect_values(place)
        return 0

    cdef int look_at_axes(self) except -1:
        cdef npy_intp *dims = self.looked[0].dims
        cdef int ndim = self.looked[0].ndim, least = 1 if self.kind == LAYER_KIND else 2, i
        self.norm.groups = 1
        if self.kind == ADDITION_KIND:
            return 0
        if ndim < least:
            plural = "axis" if least == 1 else "axes"
            raise ValueError(f"x has shape {shape_of(&self.looked[0])}; expected at least {least} {plural}")
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

    cdef inline bint is_of_statistics(self, int place) noexcept:
        """True if a vector has one value per statistic, not per channel. In inference the two are the same."""
        return MEAN <= place <= VAR and self.norm.op_ != INFERENCE

    cdef inline const npy_intp *dims_of(self, int place, int *ndim) noexcept:
        """Return the expected shape of a vector."""
        if self.is_of_statistics(place):
            ndim[0] = self.statistic_ndim
            return self.statistic_dims
        ndim[0] = self.looked[0].ndim - self.channel if self.kind == LAYER_KIND else 1
        return self.looked[0].dims + self.channel

    cdef tuple values_shape(self, int place):
        cdef int axis, ndim
        cdef const npy_intp *dims = self.dims_of(place, &ndim)
        return tuple([dims[axis] for axis in range(ndim)])

    cdef int expect_values(self, int place) except -1:
        """Raise unless a vector has the expected shape."""
        cdef int axis, ndim
        cdef const npy_intp *dims = self.dims_of(place, &ndim)
        cdef const array_t *array = &self.looked[self.positions[place]]
        cdef bint fits = array.ndim == ndim
        for axis in range(ndim if fits else 0):
            fits &= array.dims[axis] == dims[axis]
        if not fits:
            which = "statistic" if self.is_of_statistics(place) else "channel"
            self.refuse_shape(self.positions[place], self.values_shape(place), f"one for each {which}")
        return 0

    cdef int refuse_shape(self, Py_ssize_t position, tuple shape, str which) except -1:
        got = shape_of(&self.looked[position])
        raise ValueError(f"{self.names[position]} has shape {got}; expected {shape}, {which}")

    # ---- A pass

    cdef tuple run_pass(self, tuple given, tuple names, tuple places, str reference, tuple others):
        """Check all arrays and run the pass; return the arrays in ``given``, with new ones in place of None.

        ``others`` holds the caller's arrays that were taken before: the CUDA dispatch and additions need them.
        """
        cdef Py_ssize_t i, at
        cdef bint complete = True, is_vector
        for i in range(len(given)):
            self.positions[<Py_ssize_t>places[i]] = self.take_optional(given[i], names[i], True)
        self.look()
        if not self.norm.variant & WITH_RELU:
            self.positions[<int>Y] = NONE
        self.choose_backend()
        if self.kind != ADDITION_KIND:
            self.refuse_overlaps()
        elif self.norm.op_ == ADDITION_BACKWARD and self.norm.variant == 0 and given[0] is None:
            return others[:1]
        else:
            self.refuse_overlaps_but_in_place(self.positions[<int>OUT])
        if self.device != HOST:
            return self.run_on_device(given, places, others)
        for i in range(len(given)):
            if given[i] is None:
                complete, at = False, places[i]
                is_vector = at >= ARRAYS
                self.positions[at] = self.own(self.new_values(at), names[i]) if is_vector else self.own_like(0, names[i])
        wrote_all_but(given, -1, 1)
        if self.is_reference:
            self.run_reference(reference, places)
        else:
            self.plan()
            self.run()
        if complete:
            return given
        made = [self.arrays[self.positions[<int>place]] for place in places]
        return tuple([new if each is None else each for each, new in zip(given, made)])

    cdef ndarray new_values(self, int place):
        cdef int ndim
        cdef npy_intp *dims = <npy_intp *>self.dims_of(place, &ndim)
        return cnp.PyArray_EMPTY(ndim, dims, cnp.NPY_DOUBLE if self.has_float64 else cnp.NPY_FLOAT, 0)

    cdef tuple run_on_device(self, tuple given, tuple places, tuple others):
        """Pass a checked call to the CUDA dispatch: arrays by name, results with their shapes."""
        cdef int place, axis
        norms = devices.dispatch("norm")
        positions = {PLACE_NAMES[place]: self.positions[place] for place in range(PLACES) if self.positions[place] != NONE}
        views = {name: self.view(position) for name, position in positions.items()}
        labels = tuple([("outer", "channel", "space")[self.role_of(axis)] for axis in range(self.looked[0].ndim)])
        results = [
            norms.Result(PLACE_NAMES[place], array, None if place < <int>ARRAYS else self.values_shape(place))
            for place, array in zip(places, given)
        ]
        running = [largest_of(self.stored[<int>positions[name]]) for name in ("running_mean", "running_var") if name in views]
        return norms.run(
            PASS_NAMES[<int>self.norm.op_], self.norm.variant, self.dtype(), labels,
            norms.LAYER if self.kind == LAYER_KIND else self.norm.groups, views, others[0], others + given, results,
            norms.Numbers(self.norm.eps, self.norm.momentum, self.norm.is_unbiased, *running), self.device, self.stream,
        )

    # ---- The plan

    cdef int plan(self) except -1:
        """Fill in the plan."""
        cdef norm_t *norm = self.norm
        cdef Kernels kernels = norm_kernels(self.backend, FLOAT64 if self.has_float64 else FLOAT32)
        cdef int slot, which
        norm.compute = FLOAT64 if self.has_float64 else FLOAT32
        norm.codecs = kernels.codecs
        norm.is_ahead_of_time = kernels.is_ahead_of_time
        for slot in range(<int>ARRAYS):
            norm.data[slot] = NULL
            if self.positions[slot] != NONE:
                norm.data[slot] = self.looked[self.positions[slot]].data
                norm.storage_of[slot] = self.stored[self.positions[slot]]
        norm.outer.count = norm.channels.count = norm.space.count = 1
        norm.outer.ndim = norm.channels.ndim = norm.space.ndim = 0
        self.add_axes()
        norm.per_group = norm.channels.count // norm.groups if norm.groups else 1
        # An array without elements may have any number of channels or samples.
        if norm.channels.count > MAX_STATISTICS or norm.outer.count > MAX_STATISTICS // max(norm.channels.count, 1):
            raise MemoryError(f"x has shape {shape_of(&self.looked[0])}: its statistics or weights exceed any memory")
        for which in range(<int>VECTORS):
            norm.vectors[which].data = NULL
            if self.positions[<int>ARRAYS + which] != NONE:
                self.point(&norm.vectors[which], &self.looked[self.positions[<int>ARRAYS + which]])
        return 0

    cdef inline int role_of(self, int axis) noexcept:
        """Return 0 for an outer axis, 1 for channels, 2 for space."""
        if self.kind == ADDITION_KIND:
            return 2
        if axis == self.channel or (self.kind == LAYER_KIND and axis > self.channel):
            return 1
        return 0 if self.kind == LAYER_KIND or (self.kind != BATCH_KIND and axis == 0) else 2

    cdef int add_axes(self) except -1:
        """Add the axes of an addition in memory order: the axes with the largest strides of x come first."""
        cdef axes_t **axes = [&self.norm[0].outer, &self.norm[0].channels, &self.norm[0].space]
        cdef Py_ssize_t strides[7]
        cdef int order[64]
        cdef int axis, slot, k
        cdef const array_t *x = &self.looked[0]
        for axis in range(x.ndim):
            k = axis
            while self.kind == ADDITION_KIND and k > 0 and abs(x.strides[order[k - 1]]) < abs(x.strides[axis]):
                order[k] = order[k - 1]
                k -= 1
            order[k] = axis
        for k in range(x.ndim):
            for slot in range(<int>ARRAYS):
                strides[slot] = 0
                if self.positions[slot] != NONE:
                    strides[slot] = self.looked[self.positions[slot]].strides[order[k]]
            add_axis(self.norm, axes[self.role_of(order[k])], x.dims[order[k]], strides)
        return 0

    cdef void point(self, vector_t *place, const array_t *array) noexcept:
        """Set the address and the axes of a vector."""
        cdef int axis
        place.data = array.data
        place.storage_of = array.stored
        place.ndim = 0
        for axis in range(array.ndim):
            add_vector_axis(place, array.dims[axis], array.strides[axis])

    cdef int run(self) except -1:
        cdef Kernels kernels
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
        kernels = norm_kernels(self.backend, norm.element)
        for reducer in range(REDUCERS):
            for statistics_pass in range(STATISTICS_PASSES):
                norm.reduce_kernels[reducer][statistics_pass] = NULL
                kernel = norm.reductions[reducer][statistics_pass]
                if kernel != NO_KERNEL and (kernels.is_ahead_of_time or reducer == REDUCE_PARTIAL):
                    variant = norm.reduce_variant if statistics_pass == FIRST_PASS else 0
                    norm.reduce_kernels[reducer][statistics_pass] = <tile_kernel_t>kernels.load(kernel, variant)
        if norm.apply != NO_KERNEL:
            norm.apply_kernel = <tile_kernel_t>kernels.load(norm.apply, norm.variant)
        if norm.layout_ == ROWS and norm.op_ == BACKWARD:
            norm.parameters_kernel = <tile_kernel_t>kernels.load(PARAMETER_TERMS, norm.reduce_variant)
        self.expect_unchanged()  # last: the steps above may have run other code
        if releases_gil(elements, self.is_held):
            with nogil:
                run_norm(norm, threads)
        else:
            run_norm(norm, threads)
        return 0

    # ---- The reference

    cdef int run_reference(self, str name, tuple places) except -1:
        """Compute in float64 copies by the plain formula, then round the results into the caller's arrays."""
        refuse_bfloat16_bits(self.arrays)
        function = getattr(norm_reference, name)
        wanted = function.__code__.co_varnames[: function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
        named = {
            "axis": self.axis, "groups": self.groups, "eps": self.norm.eps, "momentum": self.norm.momentum,
            "unbiased": bool(self.norm.is_unbiased), "residual": True if self.norm.variant & WITH_RESIDUAL else None,
            "activation": "relu" if self.norm.variant & WITH_RELU else None,
        }
        named |= {each: array.astype("float64") for each, array in zip(self.names, self.arrays) if each in wanted}
        with numpy.errstate(all="ignore"):  # like the kernels, do not warn of NaN and infinity
            results = function(**{each: named.get(each) for each in wanted})
            for place, result in zip(places, results if len(places) > 1 else (results,)):
                array = self.arrays[self.positions[<int>place]]
                array[...] = result.astype(array.dtype)
            for place in (RUNNING_MEAN, RUNNING_VAR):
                position = self.positions[<int>place]
                if position != NONE:
                    array, values = self.arrays[position], named[PLACE_NAMES[place]]
                    largest = largest_of(self.stored[<Py_ssize_t>position])
                    values[numpy.isfinite(values)] = values[numpy.isfinite(values)].clip(-largest, largest)
                    array[...] = values.astype(array.dtype)
        return 0


cdef object as_int(str name, value):
    """Return a whole number of any type as an int; called before arrays are checked, since it may run Python code."""
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
    """Return the members of ``out`` in the order of the returned arrays; None for those to be allocated."""
    if not isinstance(out, (tuple, list)):
        return (out, *(None,) * (len(names) - 1))
    if len(out) != len(names):
        raise ValueError(f"out has {len(out)} members; expected {len(names)}: {', '.join(names)}")
    return tuple(out)


# ---- Passes


cdef NormCall start(op direction, int kind, axis, groups, activation, bint residual, eps, backend, num_threads, stream):
    cdef NormCall call = NormCall.__new__(NormCall)
    cdef int place
    call.kind = kind
    call.axis = as_int("axis", axis)
    call.groups = whole("groups", groups, "a whole number, 1 or more") if kind == GROUP_KIND else 0
    call.norm.op_ = direction
    call.norm.variant = variant_of(activation, residual)
    call.norm.eps = checked_eps.value(eps)
    call.norm.momentum, call.norm.is_unbiased = 0, True
    call.begin(backend, num_threads, stream)
    for place in range(PLACES):
        call.positions[place] = NONE
    return call


def forward(
    int kind, x, weight, bias, running_mean, running_var, residual, out, axis, groups, momentum, eps, unbiased,
    activation, backend, num_threads, stream=None,
):
    """Normalise with the statistics of x; return y, mean and rstd, and update the running statistics."""
    cdef NormCall call = start(
        FORWARD, kind, axis, groups, activation, residual is not None, eps, backend, num_threads, stream
    )
    call.norm.momentum = checked_momentum.value(momentum)
    call.norm.is_unbiased = flag("unbiased", unbiased)
    cdef tuple names = ("y", "mean", "rstd"), given = outputs_of(out, names)
    if (running_mean is None) != (running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise ValueError(f"{missing} is None; expected an array, as the other running statistic is given")
    call.positions[<int>X] = call.take(x, "x", False)
    call.positions[WEIGHT] = call.take_optional(weight, "weight", False)
    call.positions[BIAS] = call.take_optional(bias, "bias", False)
    call.positions[RUNNING_MEAN] = call.take_optional(running_mean, "running_mean", True)
    call.positions[RUNNING_VAR] = call.take_optional(running_var, "running_var", True)
    call.positions[<int>RESIDUAL] = call.take_optional(residual, "residual", False)
    results = call.run_pass(
        given, names, NORMALISED, REFERENCE_FORWARD[kind],
        None if call.device == HOST else (x, weight, bias, running_mean, running_var, residual),
    )
    if not call.is_reference and (call.norm.values or call.device != HOST):
        wrote_all_but((running_mean, running_var), -1, 1)
    return results


def inference(
    x, weight, bias, running_mean, running_var, residual, out, axis, eps, activation, backend, num_threads,
    stream=None,
):
    """Normalise with the given statistics; return y."""
    cdef NormCall call = start(
        INFERENCE, BATCH_KIND, axis, None, activation, residual is not None, eps, backend, num_threads, stream
    )
    call.positions[<int>X] = call.take(x, "x", False)
    call.positions[WEIGHT] = call.take_optional(weight, "weight", False)
    call.positions[BIAS] = call.take_optional(bias, "bias", False)
    call.positions[MEAN] = call.take(running_mean, "running_mean", False)
    call.positions[VAR] = call.take(running_var, "running_var", False)
    call.positions[<int>RESIDUAL] = call.take_optional(residual, "residual", False)
    return call.run_pass(
        (out,), ("out",), OUT_ALONE, "batch_norm_inference",
        None if call.device == HOST else (x, weight, bias, running_mean, running_var, residual),
    )[0]


def backward(
    int kind, dy, x, weight, mean, rstd, y, out, axis, groups, activation, residual, backend, num_threads,
    stream=None,
):
    """Return dx, dweight and dbias, and dresidual if ``residual`` is true; mean and rstd depend on x."""
    cdef bint with_residual = flag("residual", residual)
    return run_backward(
        start(BACKWARD, kind, axis, groups, activation, with_residual, 0.0, backend, num_threads, stream),
        dy, x, weight, mean, "mean", rstd, "rstd", y, out, REFERENCE_BACKWARD[kind],
    )


def backward_inference(
    dy, x, weight, running_mean, running_var, y, out, axis, eps, activation, residual, backend, num_threads,
    stream=None,
):
    """Like `backward`, with constant statistics."""
    cdef bint with_residual = flag("residual", residual)
    return run_backward(
        start(BACKWARD_INFERENCE, BATCH_KIND, axis, None, activation, with_residual, eps, backend, num_threads, stream),
        dy, x, weight, running_mean, "running_mean", running_var, "running_var", y, out,
        "batch_norm_backward_inference",
    )


cdef tuple run_backward(
    NormCall call, dy, x, weight, mean, str mean_name, spread, str spread_name, y, out, str reference
):
    """The common part of both, which differ in the arrays given besides the mean."""
    cdef tuple names = ("dx", "dweight", "dbias"), places = GRADIENTS
    if call.norm.variant & WITH_RESIDUAL:
        names, places = ("dx", "dweight", "dbias", "dresidual"), GRADIENTS_AND_RESIDUAL
    cdef tuple given = outputs_of(out, names)
    call.positions[<int>X] = call.take(x, "x", False)
    call.positions[<int>DY] = call.take(dy, "dy", False)
    call.positions[WEIGHT] = call.take_optional(weight, "weight", False)
    call.positions[MEAN] = call.take(mean, mean_name, False)
    call.positions[RSTD if call.norm.op_ == BACKWARD else VAR] = call.take(spread, spread_name, False)
    take_y(call, y)
    others = None if call.device == HOST else (x, dy, weight, mean, spread, y)
    return call.run_pass(given, names, places, reference, others)


cdef int take_y(NormCall call, y) except -1:
    call.positions[<int>Y] = call.take_optional(y, "y", False)
    if y is None and call.norm.variant & WITH_RELU:
        raise ValueError("y is None; expected the output of the forward pass, which the gradient of relu requires")
    return 0


def add(x, residual, out, activation, backend, num_threads, stream=None):
    """Return x + residual, after the activation."""
    cdef NormCall call = start(ADDITION, ADDITION_KIND, 0, None, activation, True, 0.0, backend, num_threads, stream)
    call.positions[<int>X] = call.take(x, "x", False)
    call.positions[<int>RESIDUAL] = call.take(residual, "residual", False)
    return call.run_pass((out,), ("out",), OUT_ALONE, "residual_add", (x, residual))[0]


def add_backward(dy, y, out, activation, backend, num_threads, stream=None):
    """Return the gradient of `add`: dy where the activation passed it on, otherwise 0."""
    cdef NormCall call = start(
        ADDITION_BACKWARD, ADDITION_KIND, 0, None, activation, False, 0.0, backend, num_threads, stream
    )
    call.positions[<int>DY] = call.take(dy, "dy", False)
    take_y(call, y)
    return call.run_pass((out,), ("out",), OUT_ALONE, "residual_add_backward", (dy, y))[0]


def moments(x, axis, backend, num_threads):
    """Return each channel's number of values, mean, and sum of squared deviations from the mean."""
    cdef NormCall call = start(MOMENTS, BATCH_KIND, axis, None, None, False, 0.0, backend, num_threads, None)
    cdef Py_ssize_t channel, values
    call.positions[<int>X] = call.take(x, "x", False)
    if call.device != HOST:
        raise BackendUnavailable(f"x is {place(call.device)}; this version of fastopt has moments of host arrays only")
    call.look()
    call.choose_backend()
    if call.is_reference:
        raise ValueError("backend is 'reference'; expected None, 'cython' or 'numba' for moments")
    call.plan()
    call.run()
    values = call.norm.space.count
    mean = numpy.array([call.norm.mean[channel] for channel in range(call.norm.channels.count)])
    m2 = numpy.array([call.norm.var[channel] * values for channel in range(call.norm.channels.count)])
    return values, mean, m2
