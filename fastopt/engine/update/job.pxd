"""What job.h declares: a tensor's update, cut into units."""

from libc.stdint cimport uint32_t, uint64_t
from numpy cimport npy_intp

cdef extern from "core/tuning.h" nogil:
    Py_ssize_t LARGEST_CHUNK

cdef extern from "core/kernel.h" nogil:
    enum storage:
        FLOAT32
        FLOAT64
        FLOAT16
        BFLOAT16
        STORAGES
    int MAX_ARRAYS
    int MAX_SCALARS
    Py_ssize_t storage_size(storage)
    ctypedef void (*kernel_t)(void **, Py_ssize_t, const void *)

cdef extern from "core/codecs.h" nogil:
    ctypedef struct codec_t:
        pass
    ctypedef struct summing_t:
        pass
    ctypedef struct noise_t:
        uint64_t seed
        uint64_t step

cdef extern from "core/draw.h" nogil:
    enum purpose:
        INITIAL
        INITIAL_MORE
        DROPOUT
    ctypedef struct source_t:
        uint64_t seed
        uint64_t offset
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
        int narrays
        int slots
        int grad
        size_t itemsize
        storage compute
        int average
        kernel_t average_kernel
        const void *average_scalars
        int copy
        const noise_t *noise
        int sources
        source_t source[2]
        draw_t draw
    ctypedef struct job_t:
        char *data[11]
        Py_ssize_t count
        Py_ssize_t units
        layout_t *layout
        uint32_t number
        const task_t *task
    ctypedef struct thread_scratch_t:
        pass
    ctypedef struct list_t:
        const job_t *jobs
        Py_ssize_t njobs
        thread_scratch_t *scratch
    void plan_job(job_t *, const task_t *, const view_t *, int, const npy_intp *, layout_t *)
    size_t layout_bytes(const layout_t *)
    Py_ssize_t number_units(job_t *, Py_ssize_t)
    void run_units(void *, int, Py_ssize_t, Py_ssize_t) noexcept


cdef inline void describe(task_t *task, int narrays, int grad, bint is_float64) noexcept nogil:
    """Fill in what a rule's jobs have in common but for its kernel and scalars; nothing follows param."""
    task.narrays = task.slots = narrays
    task.grad = grad
    task.itemsize = 8 if is_float64 else 4
    task.compute = FLOAT64 if is_float64 else FLOAT32
    task.average = task.copy = 0
    task.noise = NULL
    task.sources = 0
