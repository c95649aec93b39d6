"""Declarations of job.h: a tensor's update, divided into units."""

from libc.stdint cimport uint32_t, uint64_t
from numpy cimport npy_intp

cdef extern from "core/tuning.h" nogil:
    Py_ssize_t LARGEST_CHUNK

cdef extern from "core/kernel.h" nogil:
    enum storage:
        FLOAT32, FLOAT64, FLOAT16, BFLOAT16, STORAGES
    int MAX_ARRAYS, MAX_SCALARS
    Py_ssize_t storage_size(storage)
    ctypedef void (*kernel_t)(void **, Py_ssize_t, const void *)

cdef extern from "core/codecs.h" nogil:
    ctypedef struct codec_t:
        pass
    ctypedef struct summing_t:
        pass
    ctypedef struct noise_t:
        uint64_t seed, step

cdef extern from "core/draw.h" nogil:
    enum purpose:
        INITIAL, INITIAL_MORE, DROPOUT
    ctypedef struct source_t:
        uint64_t seed, offset
        purpose purpose
    ctypedef void (*draw_t)(const void *, const source_t *, uint32_t *)

cdef extern from "update/job.h" nogil:
    int MAX_SLOTS
    ctypedef struct view_t:
        char *data
        const npy_intp *strides
        storage storage
    ctypedef struct axis_t:
        Py_ssize_t extent
        Py_ssize_t strides[11]
    ctypedef struct layout_t:
        int ndim
        axis_t axes[64]
    ctypedef struct task_t:
        kernel_t kernel
        const void *scalars
        const codec_t *codecs
        int narrays, slots, grad, average, copy, sources
        size_t itemsize
        storage compute
        kernel_t average_kernel
        const void *average_scalars
        const noise_t *noise
        source_t source[2]
        draw_t draw
    ctypedef struct job_t:
        char *data[11]
        Py_ssize_t count, units
        layout_t *layout
        uint32_t number
        const task_t *task
    ctypedef struct thread_scratch_t:
        pass
    ctypedef struct list_t:
        job_t *jobs
        Py_ssize_t njobs, units, elements
        bint is_tiled
        thread_scratch_t *scratch
    bint plan_job(job_t *, const task_t *, const view_t *, int, const npy_intp *)
    void number_units(list_t *)
    void run_units(void *, int, Py_ssize_t, Py_ssize_t) noexcept


cdef inline void describe(task_t *task, int narrays, int grad, bint is_float64) noexcept nogil:
    """Initialise the fields common to a rule's jobs, except kernel and scalars; no array follows param."""
    task.narrays = task.slots = narrays
    task.grad = grad
    task.itemsize = 8 if is_float64 else 4
    task.compute = FLOAT64 if is_float64 else FLOAT32
    task.average = task.copy = 0
    task.noise = NULL
    task.sources = 0
