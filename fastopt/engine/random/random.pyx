# cython: language_level=3, boundscheck=False, wraparound=False
"""Runs what is random: a caller's arrays, a seed and an offset in; kernels over blocks of bits, or on a device.

Nothing is remembered.
"""

import numpy

from fastopt.rules import random as random_rules
from fastopt.backends import find_host_backend, load_kernel, load_table
from fastopt.engine.core import devices
from fastopt.engine.core.hyperparameters import whole
from fastopt.engine.core.intake import STORAGE_NAMES
from fastopt.specs.dtypes import COMPUTE_TYPES
from fastopt.coefficients.random import dropout as dropout_scalars

from libc.math cimport isfinite
from libc.string cimport memset
from numpy cimport ndarray, npy_intp

from fastopt.engine.core.exchange cimport wrote_all_but
from fastopt.engine.core.intake cimport (
    HOST, Intake, array_t, as_ndarray, check_memory, elements_of, expect_at, new_like, place, point_at, refuse_overlaps,
    same_places, same_shape, shape_of, view_of,
)
from fastopt.engine.update.job cimport (
    BFLOAT16, DROPOUT, FLOAT32, FLOAT64, INITIAL, INITIAL_MORE, codec_t, describe, draw_t, job_t, kernel_t, layout_t, list_t,
    number_units, plan_job, purpose, source_t, storage, task_t, view_t,
)
from fastopt.engine.core.pins cimport pin
from fastopt.engine.update.run cimport run_list
from fastopt.engine.threads.threads cimport RELEASE_GIL_FROM, choose_threads, threads_wanted
from fastopt.common.messages import brief

cimport numpy as cnp

cnp.import_array()

cdef union scalars_t:
    float float32[64]
    double float64[64]


cdef class Kernel:
    """A rule of rules/random.py in one compute type, by one backend, and what runs with it."""

    cdef kernel_t kernel
    cdef const codec_t *codecs
    cdef draw_t draw


cdef dict fetched = {}


cdef Kernel kernel_of(backend, str name, str dtype):
    cdef Kernel kernel
    cdef size_t address, codecs, draw
    key = (backend, name, dtype)
    if key not in fetched:
        kernel = Kernel.__new__(Kernel)
        address = load_kernel("cython" if backend is None else backend, "random", name, dtype)
        codecs, draw = load_table("codecs", dtype), load_table("draw", dtype)
        kernel.kernel, kernel.codecs, kernel.draw = <kernel_t>address, <const codec_t *>codecs, <draw_t>draw
        fetched[key] = kernel
    return <Kernel>fetched[key]


# ---- What every call gives


cdef class Key:
    """What random numbers follow from, checked; and who computes them, on how many threads or which stream."""

    cdef unsigned long long seed, offset
    cdef object backend, stream
    cdef int wanted
    cdef bint is_reference

    def __init__(self, seed, offset, backend, num_threads, stream):
        self.seed = whole("seed", seed, "a whole number from 0 to 2**64 - 1", 2**64 - 1, 0)
        self.offset = whole("offset", offset, "a whole number from 0 to 2**56 - 1", 2**56 - 1, 0)
        self.wanted = threads_wanted(num_threads)
        if backend is not None and not isinstance(backend, str):
            raise TypeError(f"backend is {brief(backend)}, a {type(backend).__name__}; expected None or a string")
        self.backend, self.stream = backend, stream
        self.is_reference = backend is not None and backend == "reference"

    cdef int expect_at(self, int device, str name) except -1:
        """Raise unless the backend runs where an array is, and the stream is of there."""
        expect_at(device, name, self.backend, self.stream)
        if device == HOST and self.backend is not None and not self.is_reference:
            find_host_backend(self.backend, name)
        return 0

    cdef object work(self, rule, bint is_float64, tuple purposes, tuple scalars):
        """What a device's side of the house is told to make (`fastopt.device.random.Work`)."""
        return devices.dispatch("random").Work(rule, COMPUTE_TYPES[is_float64], self.seed, self.offset, purposes, scalars)


cdef int convert(str rule, tuple values, bint is_float64, scalars_t *converted) except -1:
    """Round a rule's coefficients to the compute type, or raise."""
    cdef Py_ssize_t i
    cdef double value
    for i in range(len(values)):
        value = values[i]
        if is_float64:
            converted.float64[i] = value
        else:
            converted.float32[i] = <float>value
            value = converted.float32[i]
        if not isfinite(value):
            code = getattr(random_rules, rule).__code__
            name = code.co_varnames[code.co_posonlyargcount + i]
            raise ValueError(f"{name} is {values[i]}; expected a number that is finite in {COMPUTE_TYPES[is_float64]}")
    return 0


cdef tuple for_device(const scalars_t *converted, Py_ssize_t count, bint is_float64):
    """The same as Python's numbers."""
    cdef Py_ssize_t i
    return tuple([converted.float64[i] if is_float64 else converted.float32[i] for i in range(count)])


# ---- Filling an array


cdef class Filling:
    """A distribution: the rule of rules/random.py, without the compute type; its coefficients, of which the last two are
    the limits of what is returned; the plain formula."""

    cdef str name
    cdef object prepare
    cdef object reference

    def __init__(self, str name, prepare, reference):
        self.name, self.prepare, self.reference = name, prepare, reference


def fill(Filling filling, param, tuple hyperparameters, seed, offset, backend, num_threads, stream):
    """Fill one array with random numbers, or raise with nothing written."""
    cdef Key key = Key(seed, offset, backend, num_threads, stream)
    cdef Intake intake = Intake.__new__(Intake)
    cdef scalars_t scalars
    cdef tuple values
    intake.begin(("param",), -1, 1)
    intake.keeps_views = backend is not None
    intake.take((param,))
    key.expect_at(intake.device, "param")
    dtype = COMPUTE_TYPES[intake.has_float64]
    rule = f"{filling.name}_{dtype}"
    values = filling.prepare(STORAGE_NAMES[intake.views[0].storage], *hyperparameters)
    convert(rule, values, intake.has_float64, &scalars)
    if intake.device != HOST:
        fill_on_device(key, rule, intake, for_device(&scalars, len(values), intake.has_float64), param)
    elif key.is_reference:
        refuse_bfloat16_bits(intake.array(0, 0))
        shape = shape_of(intake.array_of(0, 0))
        drawn = filling.reference(shape, dtype, key.seed, key.offset, *hyperparameters)
        limits = values[len(values) - 2 :]
        store(numpy.clip(drawn, *limits), intake.array(0, 0))
    else:
        run_fill(key, rule, intake, &scalars)
    wrote_all_but((param,), -1, 1)


cdef int run_fill(Key key, str rule, Intake intake, scalars_t *scalars) except -1:
    cdef task_t task
    cdef view_t views[2]
    cdef Kernel kernel = kernel_of(key.backend, rule, COMPUTE_TYPES[intake.has_float64])
    describe(&task, 1, -1, intake.has_float64)
    task.sources = 2 if intake.has_float64 else 1
    task.source[0] = source_t(key.seed, key.offset, INITIAL)
    task.source[1] = source_t(key.seed, key.offset, INITIAL_MORE)
    task.scalars = scalars
    views[0] = intake.views[0]
    intake.expect_unchanged()  # last: all above may have let other code run
    return run(kernel, &task, views, intake.looked, key.wanted, intake.is_held)


cdef int fill_on_device(Key key, str rule, Intake intake, tuple scalars, param) except -1:
    cdef tuple purposes = (<int>INITIAL, <int>INITIAL_MORE)
    if not intake.has_float64:
        purposes = purposes[:1]
    view = devices.View(*elements_of(intake.looked))
    devices.dispatch("random").fill(key.work(rule, intake.has_float64, purposes, scalars), param, view, intake.device, key.stream)
    return 0


# ---- Dropout


def drop(x, str name, out, double p, double scale, seed, offset, backend, num_threads, stream):
    """Return x (by name) where it is kept, times scale, and zeros elsewhere; in ``out``, or a new array."""
    cdef Key key = Key(seed, offset, backend, num_threads, stream)
    cdef ndarray source, target
    cdef storage stored[2]
    cdef array_t looked[2]  # target, source
    cdef array_t in_order[2]
    cdef int device, device_of_out
    cdef bint is_copy
    cdef list pins = []
    source = as_ndarray(x, name, &stored[1], &device)
    key.expect_at(device, name)
    if out is not None:
        target = as_ndarray(out, "out", &stored[0], &device_of_out)
        if device_of_out != device:
            raise ValueError(f"out is {place(device_of_out)}; expected it {place(device)}, where {name} is")
        pin(pins, target)
    pin(pins, source)
    source = view_of(source, stored[1], name)
    point_at(&looked[1], source, stored[1])
    check_memory(source, name, False)
    if out is None:
        stored[0] = stored[1]
        target = new_like(source, stored[1], "out") if device == HOST else None
        made = target
    else:
        target = view_of(target, stored[0], "out")
        made = out
    if target is not None:
        point_at(looked, target, stored[0])
    if out is not None:
        check_memory(target, "out", True)
        if not same_shape(&looked[0], &looked[1]):
            raise ValueError(f"out has shape {shape_of(&looked[0])}; expected {shape_of(&looked[1])}, that of {name}")
        if not (stored[0] == stored[1] and same_places(&looked[0], &looked[1])):
            in_order[0], in_order[1] = looked[1], looked[0]
            refuse_overlaps(in_order, [name, "out"], 1)
    is_copy = scale == 1 and p == 0 and stored[0] == stored[1]  # bit for bit: also what kernels flush, or make quiet
    if device != HOST:
        made = drop_on_device(key, x, name, out, looked, p, scale, is_copy, device)
    elif key.is_reference:
        refuse_bfloat16_bits(source)
        refuse_bfloat16_bits(target)
        from fastopt.reference import random as random_reference  # only here: importing fastopt should not take longer for it

        store(random_reference.dropout(source, p, scale, key.seed, key.offset), target)
    elif is_copy:
        whole_numbers = f"u{cnp.PyArray_ITEMSIZE(source)}"
        target.view(whole_numbers)[...] = source.view(whole_numbers)
    else:
        run_drop(key, looked, p, scale)
    if out is not None:
        wrote_all_but((out,), -1, 1)
    return made


cdef int run_drop(Key key, array_t *looked, double p, double scale) except -1:
    cdef bint is_float64 = looked[0].stored == FLOAT64 or looked[1].stored == FLOAT64
    cdef int i
    cdef Kernel kernel = kernel_of(key.backend, "dropout", COMPUTE_TYPES[is_float64])
    cdef task_t task
    cdef scalars_t scalars
    cdef view_t views[3]
    convert("dropout", dropout_scalars(COMPUTE_TYPES[is_float64], p, scale), is_float64, &scalars)
    describe(&task, 2, 1, is_float64)
    task.sources = 1
    task.source[0] = source_t(key.seed, key.offset, DROPOUT)
    task.scalars = &scalars
    for i in range(2):
        views[i] = view_t(looked[i].data, looked[i].strides, looked[i].stored)
    return run(kernel, &task, views, looked, key.wanted, True)


cdef object drop_on_device(
    Key key, x, str name, out, array_t *looked, double p, double scale, bint is_copy, int device
):
    """Return out, or a new array, after a kernel that writes it is in the stream."""
    cdef bint is_float64 = looked[1].stored == FLOAT64 or (out is not None and looked[0].stored == FLOAT64)
    cdef scalars_t converted
    cdef tuple scalars = dropout_scalars(COMPUTE_TYPES[is_float64], p, scale)
    if is_copy:
        work = key.work(None, is_float64, (), ())
    else:
        convert("dropout", scalars, is_float64, &converted)
        scalars = for_device(&converted, len(scalars), is_float64)
        work = key.work("dropout", is_float64, (<int>DROPOUT,), scalars)
    goal = None if out is None else devices.View(*elements_of(&looked[0]))
    return devices.dispatch("random").drop(work, x, name, devices.View(*elements_of(&looked[1])), out, goal, device, key.stream)


cdef int store(values, ndarray array) except -1:
    """Round the reference's numbers into an array."""
    with numpy.errstate(all="ignore"):  # kernels do not warn of NaN and infinity either
        array[...] = values.astype(array.dtype)
    return 0


cdef int refuse_bfloat16_bits(ndarray array) except -1:
    if array.dtype.kind == "u":
        raise TypeError("backend 'reference' does not read bfloat16 from DLPack; expected ml_dtypes arrays")
    return 0


# ---- The engine


cdef int run(Kernel kernel, task_t *task, view_t *views, const array_t *first, int wanted, bint is_held) except -1:
    """Plan the job and go. Behind its arrays, ``views`` has room for elements' places, which bits are drawn for.

    No Python code runs here: what was looked at stays, whether or not it is pinned (``is_held``).
    """
    cdef npy_intp strides[64]
    cdef npy_intp stride = 1
    cdef layout_t layout
    cdef job_t job
    cdef list_t todo
    cdef Py_ssize_t units
    cdef int axis, threads
    memset(strides, 0, sizeof(strides))
    for axis in range(first.ndim - 1, -1, -1):
        strides[axis] = stride
        stride *= first.dims[axis]
    views[task.narrays] = view_t(NULL, &strides[0], BFLOAT16)  # of an array itself, Cython copies the elements
    task.kernel, task.codecs, task.draw = kernel.kernel, kernel.codecs, kernel.draw
    plan_job(&job, task, views, first.ndim, first.dims, &layout)
    todo = list_t(&job, 1, NULL)
    units = number_units(&job, 1)
    threads = choose_threads(job.count * (task.narrays + task.sources), wanted)
    return run_list(&todo, units, threads, job.layout != NULL, is_held and job.count >= RELEASE_GIL_FROM // 4)
