# cython: language_level=3, boundscheck=False, wraparound=False
"""Runs an update: checks arrays and coefficients, then runs kernels on threads or on a device."""

import numpy

from fastopt.engine.core import devices
from fastopt.engine.core.hyperparameters import NumberOnDevice
from fastopt.engine.core.intake import STORAGE_NAMES

from libc.stdlib cimport calloc, free

from fastopt.engine.call cimport checked, leave_memory, refuse_bfloat16_bits, releases_gil, take_memory
from fastopt.engine.core.exchange cimport wrote_all_but
from fastopt.engine.core.intake cimport HOST, Intake, array_t, as_view, expect_at
from fastopt.engine.update.job cimport (
    LARGEST_CHUNK, describe, job_t, layout_t, list_t, number_units, plan_job, thread_scratch_t, run_units, task_t, view_t,
)
from fastopt.engine.threads.threads cimport choose_threads, run_parallel, threads_wanted
from fastopt.engine.update.update cimport Update, Variants, convert_scalars, fill_task, variant_of, scalars_t

cimport numpy as cnp

cnp.import_array()


def run(Variants variants, tuple arrays, tuple hyperparameters, backend, num_threads, stream=None):
    """Update one tensor in place by the selected variant, or raise with nothing written.

    Optional state that the call does not use is None, and comes last.
    """
    cdef Update update = variants.choose(arrays, hyperparameters)
    if len(arrays) > len(update.arrays):
        arrays = without_none(arrays, variants.required, len(update.arrays))
    run_all(update, arrays, None, hyperparameters, backend, num_threads, stream)


def run_many(Update update, list tensors, tuple hyperparameters, backend, num_threads, stream=None):
    """Update many tensors, each a tuple of arrays, in one call, or raise with nothing written."""
    cdef tuple arrays = tuple([array for one in tensors for array in one])
    run_all(update, arrays, tuple(tensors), hyperparameters, backend, num_threads, stream)


cdef tuple without_none(tuple arrays, Py_ssize_t required, Py_ssize_t count):
    """Return the first ``count`` arrays; those that are None usually come last."""
    cdef Py_ssize_t i
    for i in range(count, len(arrays)):
        if arrays[i] is not None:
            return arrays[:required] + tuple([array for array in arrays[required:] if array is not None])
    return arrays[:count]


cdef int run_all(Update update, tuple arrays, tuple tensors, tuple hyperparameters, backend, num_threads, stream) except -1:
    """Update one tensor, or many: then ``tensors`` holds the arrays of each."""
    cdef Intake intake = Intake.__new__(Intake)
    cdef tuple scalars, one
    cdef int wanted
    trace = None
    try:
        scalars = update.prepare(hyperparameters)
    except NumberOnDevice:  # the device computes the coefficients that depend on it
        scalars, trace = devices.dispatch("coefficients").trace(update, hyperparameters)
    wanted = threads_wanted(num_threads)
    intake.begin(update.arrays, update.grad, 1 if tensors is None else len(tensors))
    intake.keeps_views = backend is not None  # Python code may run in the meantime: the reference or a compiler
    if tensors is None:
        intake.take(arrays)
    else:
        for one in tensors:
            intake.take(one)
    run_checked(update, intake, arrays, hyperparameters, scalars, trace, backend, wanted, stream)
    return 0


cdef int run_checked(
    Update update, Intake intake, tuple given, tuple hyperparameters, tuple scalars, trace, backend, int wanted, stream
) except -1:
    """Finish the checks, then run the reference, the engine or the CUDA dispatch."""
    cdef scalars_t converted
    intake.refuse_overlaps()
    convert_scalars(update, scalars, intake.has_float64, &converted, hyperparameters)
    if intake.device != HOST:
        run_on_device(update, intake, given, scalars, &converted, trace, backend, stream)
        return wrote_all_but(given, update.grad, intake.narrays)
    if trace is not None:
        update.prepare(hyperparameters)  # raises an error that names the number
    expect_at(HOST, update.arrays[0], backend, stream)
    if backend is None:
        run_tensors(update, intake, variant_of(scalars), &converted, wanted)
    elif isinstance(backend, str) and backend == "reference":
        run_reference(update, intake, hyperparameters)
    else:
        run_tensors(update.on(backend), intake, variant_of(scalars), &converted, wanted)
    return wrote_all_but(given, update.grad, intake.narrays)


cdef int run_reference(Update update, Intake intake, tuple hyperparameters) except -1:
    """Compute in float64 copies by the plain formula, then round the written arrays into the caller's."""
    named = {
        name: value if value is None or isinstance(value, (bool, int, float, str)) else float(value)
        for name, value in zip(update.hyperparameters, hyperparameters, strict=True)
    }
    cdef Py_ssize_t tensor
    refuse_bfloat16_bits(intake.arrays)
    rounded = []
    for tensor in range(intake.tensors):
        arrays = [intake.array(tensor, i) for i in range(intake.narrays)]
        copies = {name: array.astype("float64") for name, array in zip(update.arrays, arrays, strict=True)}
        with numpy.errstate(all="ignore"):  # like the kernels, do not warn of NaN and infinity
            update.reference(**copies, **named)
            rounded += [
                (array, copies[name].astype(array.dtype))
                for name, array in zip(update.arrays, arrays, strict=True)
                if name != "grad"
            ]
    for array, values in rounded:
        array[...] = values
    return 0


cdef int run_tensors(Update update, Intake intake, int variant, const scalars_t *scalars, int wanted) except -1:
    """Plan the jobs, choose the kernel and the number of threads, and run."""
    cdef task_t task
    cdef job_t own_job
    cdef list_t todo = list_t(&own_job, intake.tensors, 0, 0, False, NULL)
    cdef Py_ssize_t tensor
    own_job.layout = NULL
    fill_task(&task, update, variant, intake.has_float64)
    task.scalars = scalars
    if intake.tensors > 1:
        todo.jobs = <job_t *>checked(calloc(intake.tensors, sizeof(job_t)))
    try:
        for tensor in range(intake.tensors):
            plan_tensor(&todo.jobs[tensor], &task, intake, tensor)
        number_units(&todo)
        intake.expect_unchanged()  # last: the steps above may have run other code
        run_list(&todo, wanted, releases_gil(todo.elements, intake.is_held))
    finally:
        for tensor in range(intake.tensors):
            free(todo.jobs[tensor].layout)
        if todo.jobs != &own_job:
            free(todo.jobs)
    return 0


cdef int plan_tensor(job_t *job, const task_t *task, Intake intake, Py_ssize_t tensor) except -1:
    """Plan the job of one of the intake's tensors."""
    cdef array_t *arrays = intake.array_of(tensor, 0)
    cdef view_t views[8]
    cdef Py_ssize_t i
    for i in range(intake.narrays):
        views[i] = as_view(&arrays[i])
    if not plan_job(job, task, views, arrays.ndim, arrays.dims):
        raise MemoryError
    return 0


cdef int run_list(list_t *todo, int wanted, bint releases_gil) except -1:
    """Run a list of jobs without further Python code."""
    cdef int threads = choose_threads(todo.elements, wanted)
    todo.scratch = NULL
    if todo.is_tiled:
        todo.scratch = <thread_scratch_t *>checked(take_memory(threads * sizeof(thread_scratch_t)))
    run_parallel(run_units, todo, todo.units, LARGEST_CHUNK, threads, releases_gil)
    leave_memory(todo.scratch)
    return 0


cdef int run_on_device(
    Update update, Intake intake, tuple given, tuple scalars, scalars_t *converted, trace, backend, stream
) except -1:
    """Plan the jobs as for the engine, and pass them to the CUDA dispatch."""
    cdef list jobs = []
    cdef Py_ssize_t tensor, i
    cdef int is_float64 = intake.has_float64
    expect_at(intake.device, update.arrays[0], backend, stream)
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
        devices.dispatch("update").launch(update.rule, variant_of(scalars), is_float64, jobs, tuple(values), trace, intake.device, given, stream)
    return 0


cdef object device_job(Update update, Intake intake, Py_ssize_t tensor):
    """Return one tensor's job for the CUDA dispatch (`fastopt.device.update.Job`); None if it has no elements."""
    cdef task_t task
    cdef job_t job
    cdef layout_t *layout
    cdef array_t *arrays = intake.array_of(tensor, 0)
    cdef Py_ssize_t i, itemsize
    cdef int axis
    shape, strides = (), []
    describe(&task, <int>intake.narrays, update.grad, intake.has_float64)
    job.layout = NULL
    plan_tensor(&job, &task, intake, tensor)
    layout = job.layout
    if layout != NULL:
        shape = tuple([layout.axes[axis].extent for axis in range(layout.ndim)])
        for i in range(intake.narrays):
            itemsize = <Py_ssize_t>arrays[i].itemsize
            strides.append(tuple([layout.axes[axis].strides[i] // itemsize for axis in range(layout.ndim)]))
        free(layout)
    if job.count == 0:
        return None
    storages = tuple([STORAGE_NAMES[arrays[i].stored] for i in range(intake.narrays)])
    addresses = tuple([<size_t>job.data[i] for i in range(intake.narrays)])
    is_linear = all([steps == (1,) for steps in strides])
    return devices.dispatch("update").Job(
        storages, addresses, job.count, *((None, None) if is_linear else (shape, tuple(strides)))
    )
