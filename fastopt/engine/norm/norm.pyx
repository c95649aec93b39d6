# cython: language_level=3, boundscheck=False, wraparound=False
"""Runs a normalisation: a caller's arrays in, checked; tiles over threads; results out."""

import operator

import numpy

from fastopt.reference import norm as norm_reference
from fastopt.specs.norms import NORMS, TILE_KERNELS as KERNELS
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
        X
        DY
        Y
        RESIDUAL
        OUT
        DRESIDUAL
        ARRAYS
        PARAMETER_TERMS
        NO_KERNEL
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

cdef tuple KERNEL_NAMES = tuple([kernel.name for kernel in KERNELS])
cdef Kernels default_float32 = None


cdef Kernels norm_kernels(backend, storage element):
    """The kernels whose arrays store this."""
    global default_float32
    if backend is not None or element != FLOAT32:
        return kernels_of("norm", KERNEL_NAMES, backend, STORAGE_NAMES[<int>element])
    if default_float32 is None:
        default_float32 = kernels_of("norm", KERNEL_NAMES, None, "float32")
    return default_float32


# ---- A call's arrays

# Statistics, and channels, for which there is no memory anyway; the products below stay within 64 bits.
cdef Py_ssize_t MAX_STATISTICS = <Py_ssize_t>1 << 40

# The numbers of the kinds, for speed.
cdef enum:
    BATCH_KIND = 0
    GROUP_KIND = 2
    LAYER_KIND = 3
    ADDITION_KIND = 4  # no norm

REFERENCE_FORWARD = tuple([getattr(norm_reference, f"{norm}_norm_forward") for norm in NORMS])
REFERENCE_BACKWARD = tuple([getattr(norm_reference, f"{norm}_norm_backward") for norm in NORMS])


@cython.final
@cython.no_gc
cdef class NormCall(Call):
    """One call: its arrays as they are checked, and the plan that they become."""

    cdef Py_ssize_t positions[7]  # of the arrays of x's shape, by slot
    cdef int kind
    cdef object axis
    cdef object groups
    cdef int channel  # its axis; of a layer norm, the first
    cdef int statistic_ndim
    cdef npy_intp *statistic_dims  # behind the norm
    cdef norm_t *norm
    cdef char *scratch

    def __cinit__(self):
        self.scratch = NULL
        self.norm = <norm_t *>self.reserve(sizeof(norm_t) + 64 * sizeof(npy_intp))
        self.statistic_dims = <npy_intp *>(self.norm + 1)

    def __dealloc__(self):
        leave_memory(self.scratch)

    cdef int look(self) except -1:
        """Check every array by itself, work out x's axes and the shapes that follow, and compare those of its shape."""
        cdef Py_ssize_t i
        cdef int slot
        self.hold(cnp.PyArray_SIZE(<ndarray>self.arrays[0]) * ARRAYS, self.backend is not None)
        for i in range(len(self.arrays)):
            self.check(i)
        self.look_at_axes()
        for slot in range(ARRAYS):
            self.expect_like_x(self.positions[slot])
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
        cdef Kernels kernels = norm_kernels(self.backend, FLOAT64 if self.has_float64 else FLOAT32)
        cdef int slot, which
        norm.op_ = direction
        norm.compute = FLOAT64 if self.has_float64 else FLOAT32
        norm.codecs = kernels.codecs
        norm.is_ahead_of_time = kernels.is_ahead_of_time
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
        self.expect_unchanged()  # last: all above may have let other code run
        if releases_gil(elements, self.is_held):
            with nogil:
                run_norm(norm, threads)
        else:
            run_norm(norm, threads)
        return 0

    # ---- The reference

    cdef int run_reference(
        self, function, dict arguments, const Py_ssize_t *written, Py_ssize_t count, dict hyperparameters
    ) except -1:
        """Compute in float64 copies by the plain formula, then round what is written into the caller's arrays."""
        refuse_bfloat16_bits(self.arrays)
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


cdef ndarray statistic(NormCall call, tuple shape):
    cdef npy_intp dims[64]
    cdef Py_ssize_t i
    for i in range(len(shape)):
        dims[i] = shape[i]
    return cnp.PyArray_EMPTY(<int>len(shape), dims, cnp.NPY_DOUBLE if call.has_float64 else cnp.NPY_FLOAT, 0)


# ---- The passes


cdef NormCall start(int kind, axis, groups, activation, bint residual, eps, backend, num_threads, stream):
    cdef NormCall call = NormCall.__new__(NormCall)
    cdef int slot
    call.kind = kind
    call.axis = as_int("axis", axis)
    call.groups = whole("groups", groups, "a whole number, 1 or more") if kind == GROUP_KIND else 0
    call.norm.variant = variant_of(activation, residual)
    call.norm.eps = checked_eps.value(eps)
    call.begin(backend, num_threads, stream)
    for slot in range(ARRAYS):
        call.positions[slot] = NONE
    return call


def forward(
    int kind, x, weight, bias, running_mean, running_var, residual, out, axis, groups, momentum, eps, unbiased,
    activation, backend, num_threads, stream=None,
):
    """Normalise by statistics of x; return y, mean and rstd, and update the running statistics."""
    cdef NormCall call = start(kind, axis, groups, activation, residual is not None, eps, backend, num_threads, stream)
    cdef Py_ssize_t at_weight, at_bias, at_running_mean, at_running_var, at_mean, at_rstd
    cdef double rate = checked_momentum.value(momentum)
    cdef bint is_unbiased = flag("unbiased", unbiased)
    cdef tuple given = outputs_of(out, ("y", "mean", "rstd"))
    if (running_mean is None) != (running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise ValueError(f"{missing} is None; expected an array, as the other running statistic is given")
    call.positions[X] = call.take(x, "x", False)
    at_weight = call.take_optional(weight, "weight", False)
    at_bias = call.take_optional(bias, "bias", False)
    at_running_mean = call.take_optional(running_mean, "running_mean", True)
    at_running_var = call.take_optional(running_var, "running_var", True)
    call.positions[RESIDUAL] = call.take_optional(residual, "residual", False)
    call.positions[OUT] = call.take_optional(given[0], "y", True)
    at_mean = call.take_optional(given[1], "mean", True)
    at_rstd = call.take_optional(given[2], "rstd", True)
    call.look()
    call.expect_channels(at_weight)
    call.expect_channels(at_bias)
    call.expect_channels(at_running_mean)
    call.expect_channels(at_running_var)
    call.expect_statistics(at_mean)
    call.expect_statistics(at_rstd)
    call.choose_backend()
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
    cdef NormCall call = start(BATCH_KIND, axis, None, activation, residual is not None, eps, backend, num_threads, stream)
    cdef Py_ssize_t at_weight, at_bias, at_mean, at_var
    call.positions[X] = call.take(x, "x", False)
    at_weight = call.take_optional(weight, "weight", False)
    at_bias = call.take_optional(bias, "bias", False)
    at_mean = call.take(running_mean, "running_mean", False)
    at_var = call.take(running_var, "running_var", False)
    call.positions[RESIDUAL] = call.take_optional(residual, "residual", False)
    call.positions[OUT] = call.take_optional(out, "out", True)
    call.look()
    call.expect_channels(at_weight)
    call.expect_channels(at_bias)
    call.expect_channels(at_mean)
    call.expect_channels(at_var)
    call.choose_backend()
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
    cdef NormCall call = start(kind, axis, groups, activation, with_residual, eps, backend, num_threads, stream)
    cdef Py_ssize_t at_weight, at_first, at_second, at_dweight, at_dbias, at_y
    cdef tuple names = ("dx", "dweight", "dbias", "dresidual") if with_residual else ("dx", "dweight", "dbias")
    cdef tuple given = outputs_of(out, names)
    call.positions[X] = call.take(x, "x", False)
    call.positions[DY] = call.take(dy, "dy", False)
    at_weight = call.take_optional(weight, "weight", False)
    at_first = call.take(statistics[0], statistics_names[0], False)
    at_second = call.take(statistics[1], statistics_names[1], False)
    at_y = call.take_optional(y, "y", False)
    if activation is not None:
        if y is None:
            raise ValueError("y is None; expected what the forward pass returned, on which relu's gradient depends")
        call.positions[Y] = at_y
    call.positions[OUT] = call.take_optional(given[0], "dx", True)
    at_dweight = call.take_optional(given[1], "dweight", True)
    at_dbias = call.take_optional(given[2], "dbias", True)
    if with_residual:
        call.positions[DRESIDUAL] = call.take_optional(given[3], "dresidual", True)
    call.look()
    call.expect_like_x(at_y)
    call.expect_channels(at_weight)
    call.expect_channels(at_dweight)
    call.expect_channels(at_dbias)
    call.expect_statistics(at_first)
    call.expect_statistics(at_second)
    call.choose_backend()
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
    cdef NormCall call = start(ADDITION_KIND, 0, None, activation, True, 0.0, backend, num_threads, stream)
    call.positions[X] = call.take(x, "x", False)
    call.positions[RESIDUAL] = call.take(residual, "residual", False)
    return run_addition(
        call, ADDITION, (x, residual, out), {"x": call.positions[X], "residual": call.positions[RESIDUAL]},
        norm_reference.residual_add, activation,
    )


def add_backward(dy, y, out, activation, backend, num_threads, stream=None):
    """Return what of dy the activation passed on."""
    cdef NormCall call = start(ADDITION_KIND, 0, None, activation, False, 0.0, backend, num_threads, stream)
    cdef Py_ssize_t at_y
    call.positions[DY] = call.take(dy, "dy", False)
    at_y = call.take_optional(y, "y", False)
    if activation is not None:
        if y is None:
            raise ValueError("y is None; expected what the forward pass returned, on which relu's gradient depends")
        call.positions[Y] = at_y
    return run_addition(
        call, ADDITION_BACKWARD, (dy, y, out), {"dy": call.positions[DY], "y": at_y},
        norm_reference.residual_add_backward, activation,
    )


cdef object run_addition(NormCall call, op direction, tuple given, dict positions, reference, activation):
    """Check the arrays that a call has taken, and out, which may be one of them; run it, and return out."""
    cdef object out = given[2]
    call.positions[OUT] = call.take_optional(out, "out", True)
    call.look()
    for position in positions.values():
        call.expect_like_x(position)
    call.choose_backend()
    if direction == ADDITION_BACKWARD and call.norm.variant == 0 and out is None:
        return given[0]
    call.refuse_overlaps_but_in_place(call.positions[OUT])
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
    NormCall call, str direction, dict positions, tuple given, tuple results, tuple updated, double rate, bint is_unbiased
):
    """Hand a checked call to the CUDA dispatch: arrays by their roles, results with names and shapes."""
    cdef Py_ssize_t position, axis
    cdef list labels = []
    norms = devices.dispatch("norm")
    views = {role: call.view(position) for role, position in positions.items() if position != NONE}
    for axis in range(call.looked[0].ndim):
        if call.kind == ADDITION_KIND:
            labels.append("space")
        elif axis == call.channel or (call.kind == LAYER_KIND and axis > call.channel):
            labels.append("channel")
        else:
            labels.append("outer" if call.kind == LAYER_KIND or (call.kind != BATCH_KIND and axis == 0) else "space")
    running = [largest_of(call.stored[positions[role]]) for role in ("running_mean", "running_var") if role in views]
    returned = norms.run(
        direction, call.norm.variant, call.dtype(), tuple(labels),
        norms.LAYER if call.kind == LAYER_KIND else call.norm.groups, views, given[0], given,
        [norms.Result(*result) for result in results], norms.Numbers(call.norm.eps, rate, is_unbiased, *running),
        call.device, call.stream,
    )
    wrote_all_but(updated, -1, 1)
    return returned


def moments(x, axis, backend, num_threads):
    """Return the number of values of each channel, their mean, and the sum of their squared deviations from it."""
    cdef NormCall call = start(BATCH_KIND, axis, None, None, False, 0.0, backend, num_threads, None)
    cdef Py_ssize_t channel, values
    call.positions[X] = call.take(x, "x", False)
    if call.device != HOST:
        raise BackendUnavailable(f"x is {place(call.device)}; this version of fastopt has moments of host arrays only")
    call.look()
    call.choose_backend()
    if call.is_reference:
        raise ValueError("backend is 'reference'; expected None, 'cython' or 'numba' for moments")
    call.plan(MOMENTS)
    call.run()
    values = call.norm.space.count
    mean = numpy.array([call.norm.mean[channel] for channel in range(call.norm.channels.count)])
    m2 = numpy.array([call.norm.var[channel] * values for channel in range(call.norm.channels.count)])
    return values, mean, m2
