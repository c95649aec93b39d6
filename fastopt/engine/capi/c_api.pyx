# cython: language_level=3, boundscheck=False, wraparound=False
"""The C interface: the rules as C structs, the engine's entry points without Python, and calls of a single kernel.

The capsule `_c_api` holds the struct that fastopt.h declares. It is filled at import, for the instruction set in use.
"""

import numpy

from fastopt.backends import cython
from fastopt.engine.core.intake import STORAGE_NAMES
from fastopt.specs.dtypes import COMPUTE_TYPES
from fastopt.specs.updates import variants_by_rule

from cpython.mem cimport PyMem_Calloc
from cpython.pycapsule cimport PyCapsule_New
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport strcmp
cimport numpy as cnp
from numpy cimport ndarray, npy_intp

from fastopt.engine.call cimport checked
from fastopt.engine.core.exchange cimport wrote_all_but
from fastopt.engine.core.intake cimport HOST, Intake, array_t
from fastopt.engine.update.job cimport (
    FLOAT64, LARGEST_CHUNK, STORAGES, codec_t, describe, job_t, list_t, number_units, plan_job, thread_scratch_t,
    run_units, storage, storage_size, task_t, view_t,
)
from fastopt.engine.threads.threads cimport choose_threads, parallel_for
from fastopt.engine.update.run cimport run_tensors
from fastopt.engine.update.update cimport Update, convert_scalars, round_scalars, rounding_t, scalars_t

cnp.import_array()

cdef extern from *:
    """
    #include "fastopt.h"
    #include "core/kernel.h"
    _Static_assert((int)FASTOPT_FLOAT32 == FLOAT32 && (int)FASTOPT_FLOAT64 == FLOAT64 && (int)FASTOPT_FLOAT16 == FLOAT16
                   && (int)FASTOPT_BFLOAT16 == BFLOAT16, "fastopt.h and kernel.h number storages alike");
    static const char *const MESSAGES[] = {
        [FASTOPT_OK] = "done",
        [FASTOPT_NULL_POINTER] = "a required pointer is NULL: rule, scalars, tensors, arrays, storages or data",
        [FASTOPT_NEGATIVE_SIZE] = "a number of elements, tensors or threads is negative",
        [FASTOPT_UNKNOWN_STORAGE] = "a storage is not one of fastopt_storage",
        [FASTOPT_MISALIGNED] = "an array is not aligned to its elements",
        [FASTOPT_OVERLAP] = "two arrays of one tensor overlap in memory",
        [FASTOPT_BAD_SCALAR] =
            "a scalar is not finite in the compute type, grad_scale underflows in it, or the rule has no decoupled decay",
        [FASTOPT_NO_MEMORY] = "out of memory",
    };
    """
    const char *const *MESSAGES

cdef extern from "fastopt.h" nogil:
    ctypedef struct fastopt_tensor:
        const void **arrays
        const int *storages
        Py_ssize_t count
    ctypedef struct fastopt_api:
        int version
        size_t size
        const fastopt_rule *(*find_rule)(const char *) noexcept
        int (*run)(const fastopt_rule *, const void *, const fastopt_tensor *, Py_ssize_t, int) noexcept
        const char *(*message)(int) noexcept
    int FASTOPT_ABI_VERSION, FASTOPT_OK, FASTOPT_NULL_POINTER, FASTOPT_NEGATIVE_SIZE, FASTOPT_UNKNOWN_STORAGE
    int FASTOPT_MISALIGNED, FASTOPT_OVERLAP, FASTOPT_BAD_SCALAR, FASTOPT_NO_MEMORY

cdef extern from "core/float_mode.h" nogil:
    ctypedef unsigned long float_mode_t
    float_mode_t enter_float_mode()
    void leave_float_mode(float_mode_t)

# ---- The rules

# The C struct of a rule, with further data for the engine.
cdef struct rule_t:
    fastopt_rule seen
    rounding_t rounding
    int grad

cdef rule_t *rules
cdef Py_ssize_t nrules
cdef const codec_t *codecs[2]
cdef list kept = []  # the strings that the rules refer to


cdef const char **strings(tuple names) except NULL:
    """Return the names as C strings, which are never freed."""
    cdef const char **pointers = <const char **>checked(PyMem_Calloc(len(names), sizeof(char *)))
    cdef bytes text
    for i, name in enumerate(names):
        text = name.encode()
        kept.append(text)
        pointers[i] = text
    return pointers


cdef int describe_rule(rule_t *rule, Update update) except -1:
    cdef size_t address
    rule.seen.name = strings((update.rule.__name__,))[0]
    rule.seen.narrays = len(update.arrays)
    rule.seen.nscalars = len(update.scalars)
    rule.seen.arrays = strings(update.arrays)
    rule.seen.scalars = strings(update.scalars)
    rule.rounding = update.rounding
    rule.grad = update.grad
    for is_float64, dtype in enumerate(COMPUTE_TYPES):
        for variant, address in enumerate(cython.kernels("update", update.rule.__name__, dtype)):
            rule.seen.kernels[<int>is_float64][<int>variant] = <fastopt_kernel>address
    return 0


cdef int describe_rules() except -1:
    global rules, nrules
    cdef size_t address
    cdef dict variants = variants_by_rule()
    rules = <rule_t *>checked(PyMem_Calloc(len(variants), sizeof(rule_t)))
    for served in variants.values():
        describe_rule(&rules[nrules], served[0].update)
        nrules += 1
    for is_float64, dtype in enumerate(COMPUTE_TYPES):
        address = cython.table("codecs", dtype)
        codecs[<int>is_float64] = <const codec_t *>address
    return 0


cdef const fastopt_rule *find_rule(const char *name) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(nrules if name != NULL else 0):
        if strcmp(rules[i].seen.name, name) == 0:
            return &rules[i].seen
    return NULL


cdef const fastopt_rule *rule_named(str name) except NULL:
    cdef const fastopt_rule *rule = find_rule(name.encode())
    if rule == NULL:
        raise LookupError(name)
    return rule


# ---- The engine's entry point

cdef int check_arrays(const rule_t *rule, const fastopt_tensor *tensor) noexcept nogil:
    """Check one tensor's arrays, to the extent that C allows."""
    cdef int i, j
    cdef size_t one, other, size
    if tensor.count < 0:
        return FASTOPT_NEGATIVE_SIZE
    if tensor.arrays == NULL or tensor.storages == NULL:
        return FASTOPT_NULL_POINTER
    for i in range(rule.seen.narrays):
        if not 0 <= tensor.storages[i] < STORAGES:
            return FASTOPT_UNKNOWN_STORAGE
    for i in range(rule.seen.narrays if tensor.count else 0):
        if tensor.arrays[i] == NULL:
            return FASTOPT_NULL_POINTER
        one = <size_t>tensor.arrays[i]
        size = storage_size(<storage>tensor.storages[i])
        if one % size:
            return FASTOPT_MISALIGNED
        for j in range(i):
            other = <size_t>tensor.arrays[j]
            if one < other + tensor.count * storage_size(<storage>tensor.storages[j]) and other < one + tensor.count * size:
                return FASTOPT_OVERLAP
    return FASTOPT_OK


cdef bint plan_tensor(job_t *job, const task_t *task, const fastopt_tensor *tensor) noexcept nogil:
    """Plan the job of a one-dimensional tensor; return False if memory is exhausted."""
    cdef view_t views[8]
    cdef npy_intp strides[8]
    cdef npy_intp count = tensor.count
    cdef int i
    for i in range(task.narrays):
        strides[i] = storage_size(<storage>tensor.storages[i])
        views[i] = view_t(<char *>tensor.arrays[i], &strides[i], <storage>tensor.storages[i])
    return plan_job(job, task, views, 1, &count)


cdef int run_jobs(list_t *todo, const task_t *task, const fastopt_tensor *tensors, int threads) noexcept nogil:
    """Plan a job for each tensor, and run all jobs."""
    cdef Py_ssize_t i
    cdef char *scratch
    for i in range(todo.njobs):
        if not plan_tensor(&todo.jobs[i], task, &tensors[i]):
            return FASTOPT_NO_MEMORY
    number_units(todo)
    threads = choose_threads(todo.elements, threads)
    scratch = <char *>malloc(threads * sizeof(thread_scratch_t) + 64) if todo.is_tiled else NULL
    if scratch == NULL and todo.is_tiled:
        return FASTOPT_NO_MEMORY
    todo.scratch = <thread_scratch_t *>(scratch + 64 - <size_t>scratch % 64)
    parallel_for(run_units, todo, todo.units, LARGEST_CHUNK, threads)
    free(scratch)
    return FASTOPT_OK


cdef int run(
    const fastopt_rule *seen, const void *given, const fastopt_tensor *tensors, Py_ssize_t ntensors, int threads
) noexcept nogil:
    """See fastopt.h; nothing is written before all checks are done."""
    cdef const rule_t *rule = <const rule_t *>seen
    cdef const double *scalars = <const double *>given
    cdef scalars_t converted
    cdef task_t task
    cdef job_t own_job
    cdef list_t todo = list_t(&own_job, ntensors, 0, 0, False, NULL)
    cdef float_mode_t caller
    cdef Py_ssize_t tensor, wrong
    cdef int i, error, variant
    cdef bint is_float64 = False
    if ntensors < 0 or threads < 0:
        return FASTOPT_NEGATIVE_SIZE
    if rule == NULL or scalars == NULL or (tensors == NULL and ntensors):
        return FASTOPT_NULL_POINTER
    for tensor in range(ntensors):
        error = check_arrays(rule, &tensors[tensor])
        if error:
            return error
        for i in range(rule.seen.narrays):
            is_float64 |= tensors[tensor].storages[i] == FLOAT64
    variant = (scalars[1] != 0.0) + 2 * (scalars[2] != 0.0)
    caller = enter_float_mode()  # the caller's mode might round scalars differently
    wrong = round_scalars(&rule.rounding, scalars, is_float64, &converted)
    leave_float_mode(caller)
    if seen.kernels[is_float64][variant] == NULL or wrong >= 0:
        return FASTOPT_BAD_SCALAR
    describe(&task, seen.narrays, rule.grad, is_float64)
    task.kernel = seen.kernels[is_float64][variant]
    task.codecs = codecs[is_float64]
    task.scalars = &converted
    own_job.layout = NULL
    if ntensors > 1:
        todo.jobs = <job_t *>calloc(ntensors, sizeof(job_t))
        if todo.jobs == NULL:
            return FASTOPT_NO_MEMORY
    error = run_jobs(&todo, &task, tensors, threads)
    for tensor in range(ntensors):
        free(todo.jobs[tensor].layout)
    if todo.jobs != &own_job:
        free(todo.jobs)
    return error


cdef const char *message(int error) noexcept nogil:
    if FASTOPT_OK <= error <= FASTOPT_NO_MEMORY:
        return MESSAGES[error]
    return "not an error code of fastopt"


# ---- One kernel, from Python

def convert(Update update, tuple scalars, dtype, tuple hyperparameters=None):
    """Return the coefficients as an array of the compute type, rounded as the engine rounds them.

    They are computed from the hyperparameters if those are given; otherwise they are the caller's own.
    """
    cdef scalars_t converted
    cdef Py_ssize_t i
    cdef bint is_float64 = dtype == "float64"
    convert_scalars(update, scalars, is_float64, &converted, hyperparameters)
    return numpy.array(
        [converted.float64[i] if is_float64 else converted.float32[i] for i in range(len(scalars))], dtype
    )


def run_kernel(Update update, int variant, dtype, tuple arrays, ndarray scalars):
    """Run one kernel over C-contiguous arrays of the compute type, or raise with nothing written."""
    cdef Intake intake = Intake.__new__(Intake)
    cdef array_t *array
    cdef Py_ssize_t i, axis
    intake.begin(update.arrays, update.grad, 1)
    intake.take(arrays)
    intake.refuse_overlaps()
    if intake.device != HOST:
        raise ValueError(f"{update.arrays[0]} is on a CUDA device; expected it in the host's memory")
    for i in range(len(update.arrays)):
        array = intake.array_of(0, i)
        if STORAGE_NAMES[array.stored] != dtype:
            raise TypeError(f"{update.arrays[i]} has dtype {STORAGE_NAMES[array.stored]}; expected {dtype}, the compute type")
        if not array.straight:
            strides = tuple([array.strides[axis] for axis in range(array.ndim)])
            raise ValueError(f"{update.arrays[i]} has strides {strides}; expected a C-contiguous array")
    run_tensors(update, intake, variant, <const scalars_t *>cnp.PyArray_DATA(scalars), 1)
    wrote_all_but(arrays, update.grad, intake.narrays)


describe_rules()
cdef fastopt_api api
api.version = FASTOPT_ABI_VERSION
api.size = sizeof(fastopt_api)
api.find_rule = find_rule
api.run = run
api.message = message
_c_api = PyCapsule_New(&api, "fastopt._c_api", NULL)
