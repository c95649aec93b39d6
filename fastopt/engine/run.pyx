# cython: language_level=3, boundscheck=False, wraparound=False
"""Runs an update: checked arrays and host scalars in, kernels over threads and blocks, or on a device; nothing out."""

import numpy

from fastopt.backends import find_host_backend, load_kernel
from fastopt.codegen.rule_text import SHARED_SCALARS
from fastopt.engine.hyperparameters import NumberOnDevice

from libc.float cimport DBL_MIN, FLT_MIN
from libc.math cimport isfinite, sqrt
from libc.stdlib cimport free, malloc
from numpy cimport ndarray, npy_intp, PyArray_DIMS, PyArray_ITEMSIZE, PyArray_NDIM

from fastopt.engine.intake cimport (
    BFLOAT16, FLOAT16, FLOAT32, FLOAT64, HOST, MAX_ARRAYS, MAX_SCALARS, Intake, storage, view_t,
)
from fastopt.engine.threads cimport RELEASE_GIL_FROM, choose_threads, spread, threads_wanted

cimport numpy as cnp

cnp.import_array()

cdef extern from "kernel.h" nogil:
    ctypedef void (*kernel_t)(void **, Py_ssize_t, const void *)

cdef extern from "codecs.h" nogil:
    ctypedef struct codec_t:
        pass

cdef extern from "job.h" nogil:
    ctypedef struct layout_t:
        int ndim
        Py_ssize_t shape[64]
        Py_ssize_t strides[8][64]
    ctypedef struct job_t:
        char *data[8]
        Py_ssize_t count
        layout_t *layout
    ctypedef struct task_t:
        kernel_t kernel
        const void *scalars
        const codec_t *codecs
        int narrays
        int grad
        size_t itemsize
        storage compute
    ctypedef struct list_t:
        const job_t *jobs
        Py_ssize_t njobs
        const task_t *task
    Py_ssize_t LARGEST_CHUNK
    void plan_job(job_t *, const task_t *, const view_t *, int, const npy_intp *, layout_t *)
    Py_ssize_t number_units(job_t *, Py_ssize_t)
    void run_units(void *, int, Py_ssize_t, Py_ssize_t) noexcept

cdef union scalars_t:
    float float32[32]
    double float64[32]


cdef class Update:
    """One variant of an update as the engine runs it: rule, host scalars, reference, and the kernels once loaded.

    Parameters
    ----------
    rule : function
        From ``fastopt/rules.py``.
    prepare : function
        From the hyperparameters to the host scalars: ``grad_scale``, ``weight_decay``, ``decay``, then the rule's own.
    reference : function, optional
        The plain formula, called with the rule's arrays and prepare's hyperparameters by name.
    """

    cdef readonly object rule
    cdef readonly object prepare
    cdef readonly object reference
    cdef readonly str backend
    cdef readonly tuple arrays
    cdef readonly tuple scalars
    cdef readonly tuple hyperparameters
    cdef dict siblings
    cdef int grad
    cdef int eps
    cdef kernel_t kernels[2][4]
    cdef const codec_t *codecs[2]

    def __init__(self, rule, prepare, reference=None, *, str backend="cython"):
        code = rule.__code__
        names = code.co_varnames[: code.co_argcount]
        self.rule = rule
        self.prepare = prepare
        self.reference = reference
        self.backend = backend
        self.arrays = names[: code.co_posonlyargcount]
        own_scalars = [name for name in names[code.co_posonlyargcount :] if name not in SHARED_SCALARS]
        self.scalars = (*SHARED_SCALARS, *own_scalars)
        self.hyperparameters = prepare.__code__.co_varnames[: prepare.__code__.co_argcount]
        self.siblings = {backend: self}
        self.grad = self.arrays.index("grad")
        self.eps = self.scalars.index("eps") if "eps" in self.scalars else -1
        if len(self.arrays) > MAX_ARRAYS or len(self.scalars) > MAX_SCALARS:
            raise ValueError(f"rule {rule.__name__} has more than {MAX_ARRAYS} arrays or {MAX_SCALARS} scalars")

    def __repr__(self):
        return f"Update({self.rule.__name__}, backend={self.backend!r})"

    cdef Update on(self, backend):
        """The same update on another backend."""
        if not isinstance(backend, str):
            raise TypeError(f"backend is {backend!r}, a {type(backend).__name__}; expected None or a string")
        if backend not in self.siblings:
            find_host_backend(backend, self.arrays[0])
            self.siblings[backend] = Update(self.rule, self.prepare, self.reference, backend=backend)
        return self.siblings[backend]

    cdef int load(self, bint is_float64, int form) except -1:
        """Fetch one of the kernels, and the codecs of its compute type."""
        cdef size_t kernel, codecs
        kernel, codecs = load_kernel(self.backend, self.rule, "float64" if is_float64 else "float32", form)
        self.codecs[is_float64] = <const codec_t *>codecs
        self.kernels[is_float64][form] = <kernel_t>kernel
        return 0


def run(Update update, tuple arrays, tuple hyperparameters, backend, num_threads, stream=None):
    """Update one tensor in place, or raise with nothing written."""
    cdef Intake intake = Intake.__new__(Intake)
    cdef tuple scalars
    trace = None
    try:
        scalars = update.prepare(*hyperparameters)
    except NumberOnDevice:
        scalars, trace = traced(update, hyperparameters)
    cdef int wanted = threads_wanted(num_threads)
    intake.begin(update.arrays, update.grad, 1)
    intake.take(arrays)
    run_checked(update, intake, arrays, hyperparameters, scalars, trace, backend, wanted, stream)


def run_many(Update update, list tensors, tuple hyperparameters, backend, num_threads, stream=None):
    """Update many tensors (a tuple of arrays each) in one call, or raise with nothing written."""
    cdef Intake intake = Intake.__new__(Intake)
    cdef tuple scalars
    trace = None
    try:
        scalars = update.prepare(*hyperparameters)
    except NumberOnDevice:
        scalars, trace = traced(update, hyperparameters)
    cdef int wanted = threads_wanted(num_threads)
    cdef tuple arrays, given = tuple(tensors)
    intake.begin(update.arrays, update.grad, len(given))
    for arrays in given:
        intake.take(arrays)
    run_checked(update, intake, sum(given, ()), hyperparameters, scalars, trace, backend, wanted, stream)


cdef tuple traced(Update update, tuple hyperparameters):
    """Host scalars where a number is on the device, and how the device computes those that follow from it."""
    from fastopt.device.scalars import trace

    return trace(update.prepare, hyperparameters)


cdef int run_checked(
    Update update, Intake intake, tuple given, tuple hyperparameters, tuple scalars, trace, backend, int wanted, stream
) except -1:
    """Finish the checks, and go to the reference, to the engine, or to a device."""
    cdef scalars_t converted
    intake.refuse_overlaps()
    convert_scalars(update, scalars, intake.has_float64, &converted)
    if intake.device != HOST:
        return run_on_device(update, intake, given, scalars, &converted, trace, backend, stream)
    if trace is not None:
        update.prepare(*hyperparameters)  # raises what names the number
    if stream is not None:
        raise ValueError(f"stream is {stream!r}; expected None, since {update.arrays[0]} is in the host's memory")
    if backend is None:
        return run_tensors(update, intake, scalars, &converted, wanted)
    if isinstance(backend, str) and backend == "reference":
        return run_reference(update, intake, hyperparameters)
    return run_tensors(update.on(backend), intake, scalars, &converted, wanted)


cdef int run_reference(Update update, Intake intake, tuple hyperparameters) except -1:
    """Compute in float64 copies by the plain formula, then round what was written into the caller's arrays."""
    named = {
        name: value if value is None or isinstance(value, (bool, int, float, str)) else float(value)
        for name, value in zip(update.hyperparameters, hyperparameters, strict=True)
    }
    cdef Py_ssize_t tensor
    if any(array.dtype.kind == "u" for array in intake.arrays):
        raise TypeError("backend 'reference' does not read bfloat16 from DLPack; expected ml_dtypes arrays")
    rounded = []
    for tensor in range(intake.tensors):
        arrays = [intake.array(tensor, i) for i in range(intake.narrays)]
        copies = {name: array.astype("float64") for name, array in zip(update.arrays, arrays, strict=True)}
        with numpy.errstate(all="ignore"):  # kernels do not warn of NaN and infinity either
            update.reference(**copies, **named)
            rounded += [
                (array, copies[name].astype(array.dtype))
                for name, array in zip(update.arrays, arrays, strict=True)
                if name != "grad"
            ]
    for array, values in rounded:
        array[...] = values
    return 0


cdef int run_tensors(Update update, Intake intake, tuple scalars, scalars_t *converted, int wanted) except -1:
    """Plan the jobs, choose the kernel and the threads, and go."""
    cdef task_t task
    cdef layout_t own_layout
    cdef layout_t *spare = &own_layout
    cdef job_t own_job
    cdef job_t *jobs = &own_job
    cdef list_t todo
    cdef Py_ssize_t elements = 0, planned = 0, units, tensor
    cdef int is_float64 = intake.has_float64
    cdef int threads, form
    cdef ndarray param
    task.scalars = converted
    task.narrays = <int>intake.narrays
    task.grad = update.grad
    task.itemsize = 8 if is_float64 else 4
    task.compute = FLOAT64 if is_float64 else FLOAT32
    try:
        if intake.tensors > 1:
            jobs = <job_t *>checked(malloc(intake.tensors * sizeof(job_t)))
        for tensor in range(intake.tensors):
            if spare == NULL:
                spare = <layout_t *>checked(malloc(sizeof(layout_t)))
            param = intake.array(tensor, 0)
            plan_job(&jobs[tensor], &task, intake.views_of(tensor), PyArray_NDIM(param), PyArray_DIMS(param), spare)
            planned += 1
            elements += jobs[tensor].count
            if jobs[tensor].layout != NULL:  # the job has taken it
                spare = NULL
        # Last, for it may compile, and other threads may run meanwhile: the plan holds addresses, not shapes.
        form = (scalars[1] != 0.0) + 2 * (scalars[2] != 0.0)
        if update.kernels[is_float64][form] == NULL:
            update.load(is_float64, form)
        task.kernel = update.kernels[is_float64][form]
        task.codecs = update.codecs[is_float64]
        todo = list_t(jobs, intake.tensors, &task)
        units = number_units(jobs, intake.tensors)
        threads = choose_threads(elements * task.narrays, wanted)
        if elements * task.narrays < RELEASE_GIL_FROM:
            spread(run_units, &todo, units, LARGEST_CHUNK, threads)
        else:
            with nogil:
                spread(run_units, &todo, units, LARGEST_CHUNK, threads)
    finally:
        for tensor in range(planned):
            if jobs[tensor].layout != &own_layout:
                free(jobs[tensor].layout)
        if spare != &own_layout:
            free(spare)
        if jobs != &own_job:
            free(jobs)
    return 0


cdef int run_on_device(
    Update update, Intake intake, tuple given, tuple scalars, scalars_t *converted, trace, backend, stream
) except -1:
    """Plan the jobs, as for the engine, and hand them to the device's side of the house."""
    from fastopt.device.launch import launch
    from fastopt.device.streams import wrote

    cdef list jobs = []
    cdef Py_ssize_t tensor, i
    cdef int is_float64 = intake.has_float64
    if backend is not None and backend != "cuda":
        raise ValueError(f"backend is {backend!r}; expected None or 'cuda', since {update.arrays[0]} is on a CUDA device")
    for tensor in range(intake.tensors):
        job = device_job(update, intake, tensor)
        if job is not None:
            jobs.append(job)
    for number in trace.numbers if trace is not None else ():
        if number.device != intake.device:
            raise ValueError(
                f"{number.name} is on CUDA device {number.device}; expected it on CUDA device {intake.device}, "
                f"where {update.arrays[0]} is"
            )
    if jobs:
        values = [converted.float64[i] if is_float64 else converted.float32[i] for i in range(len(scalars))]
        form = (scalars[1] != 0.0) + 2 * (scalars[2] != 0.0)
        launch(update.rule, form, is_float64, jobs, tuple(values), trace, intake.device, given, stream)
    wrote([array for i, array in enumerate(given) if i % intake.narrays != update.grad])
    return 0


cdef object device_job(Update update, Intake intake, Py_ssize_t tensor):
    """One tensor's job as the device's side takes it (`fastopt.device.launch.Job`); None if it has no elements."""
    from fastopt.device.launch import Job

    cdef task_t task
    cdef layout_t layout
    cdef job_t job
    cdef view_t *views = intake.views_of(tensor)
    cdef ndarray param = intake.array(tensor, 0)
    cdef Py_ssize_t i, itemsize
    cdef bint linear = True
    task.narrays = <int>intake.narrays
    task.grad = update.grad
    task.itemsize = 8 if intake.has_float64 else 4
    task.compute = FLOAT64 if intake.has_float64 else FLOAT32
    plan_job(&job, &task, views, PyArray_NDIM(param), PyArray_DIMS(param), &layout)
    if job.count == 0:
        return None
    storages = tuple([STORAGE_NAMES[views[i].storage] for i in range(intake.narrays)])
    addresses = tuple([<size_t>job.data[i] for i in range(intake.narrays)])
    if job.layout == NULL:
        return Job(storages, addresses, job.count, None, None)
    strides = []
    for i in range(intake.narrays):
        itemsize = PyArray_ITEMSIZE(intake.array(tensor, i))
        linear &= layout.ndim == 1 and layout.strides[i][0] == itemsize
        strides.append(tuple([layout.strides[i][axis] // itemsize for axis in range(layout.ndim)]))
    if linear:
        return Job(storages, addresses, job.count, None, None)
    return Job(storages, addresses, job.count, tuple([layout.shape[axis] for axis in range(layout.ndim)]), tuple(strides))


cdef dict STORAGE_NAMES = {FLOAT32: "float32", FLOAT64: "float64", FLOAT16: "float16", BFLOAT16: "bfloat16"}


cdef void *checked(void *memory) except NULL:
    if memory == NULL:
        raise MemoryError
    return memory


cdef int convert_scalars(Update update, tuple scalars, bint is_float64, scalars_t *converted) except -1:
    """Round the host scalars to the compute type.

    What is too small becomes 0, but for an eps, which is never turned off. Beside a root it is at least the root of the
    smallest normal number, the least that a root can be: smaller, it would not bound m / sqrt(v) where v underflows.
    """
    cdef Py_ssize_t i
    cdef double value, rounded, smallest = DBL_MIN if is_float64 else FLT_MIN
    if len(scalars) != len(update.scalars):
        raise ValueError(f"{len(scalars)} scalars given; expected {len(update.scalars)}: {', '.join(update.scalars)}")
    for i in range(len(scalars)):
        value = scalars[i]
        if i == update.eps:
            value = max(value, sqrt(smallest))
        elif value != 0.0 and abs(value) < smallest:
            if i == 0:
                raise ValueError(f"grad_scale vanishes in {'float64' if is_float64 else 'float32'} (it is {value})")
            value = smallest if update.scalars[i].startswith("eps") else 0.0
        if is_float64:
            rounded = converted.float64[i] = value
        else:
            rounded = converted.float32[i] = <float>value
        if not isfinite(rounded):
            raise ValueError(
                f"{update.scalars[i]} becomes {rounded} in {'float64' if is_float64 else 'float32'} (it is {value}); "
                f"expected hyperparameters from which every scalar of {update.rule.__name__} is finite"
            )
    return 0
