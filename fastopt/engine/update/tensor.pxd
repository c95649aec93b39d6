"""One tensor of a plan: its record, and the operations on a single tensor."""

from cpython.object cimport PyObject
from libc.float cimport DBL_MIN, FLT_MIN
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy
cimport numpy as cnp
from numpy cimport ndarray, npy_intp, PyArray_DATA, PyArray_DIMS, PyArray_IS_C_CONTIGUOUS, PyArray_NDIM, PyArray_STRIDES

from fastopt.engine.call cimport checked
from fastopt.engine.update.job cimport (
    BFLOAT16, job_t, noise_t, plan_job, storage, storage_size, task_t, view_t,
)
from fastopt.engine.update.sum_squares cimport sum_t
from fastopt.engine.update.update cimport scalars_t

cdef extern from *:
    """
    /* The arrays of 2,000 tensors are scattered, so the hardware can't prefetch them. If other work evicts them between
     * steps, prefetching takes a step from 0.46 to 0.42 ms; if not, a step takes 0.10 ms with and without it. */
    #define LOOK_AHEAD 8
    #define fetch(object) __builtin_prefetch(object)
    """
    int LOOK_AHEAD
    void fetch(const void *) noexcept


# A tensor's record. Its arrays are param, grad, state, then the arrays that follow param.
cdef struct tensor_t:
    view_t *views
    char *data  # data of the caller's array: param, or the copy
    const npy_intp *shape
    int ndim
    unsigned straight  # bit i: array i is C-contiguous
    int narrays  # number of the rule's arrays
    int slots  # the same plus the arrays that follow param
    int average
    int copy
    bint wide  # one of its own arrays is float64
    bint is_float64  # the same, or this step's gradient is float64
    bint noisy
    bint active  # it is updated in this step
    bint planned
    bint own  # its job has had its own scalars since the last step
    storage stored  # storage type of this step's gradient
    char *grad  # address of the last gradient
    storage grad_storage
    Py_ssize_t group
    Py_ssize_t first  # the position of param among all arrays
    Py_ssize_t count
    Py_ssize_t units
    Py_ssize_t next_work  # position of the shared work, at this step
    Py_ssize_t work  # position of the shared work at the last step; or -1
    sum_t squares[2]  # as last measured

# The work shared by tensors with the same scalars: of one group, and with the same number of updates.
cdef struct work_t:
    task_t task
    scalars_t scalars
    noise_t noise
    double grad_scale
    double lr  # NaN: the rule has none
    Py_ssize_t group
    int64_t step
    bint is_float64
    bint noisy
    int average
    int copy
    # The rule with a learning rate of 1 and without decay of param.
    task_t direction
    scalars_t direction_scalars
    double weight_decay

# The work of a tensor with its own scalars.
cdef struct own_t:
    task_t task
    scalars_t scalars


cdef inline void *zeros(size_t count, size_t size) except NULL:
    return checked(calloc(count or 1, size))


cdef inline int number_places(tensor_t *tensor) except -1:
    """Append an array of the elements' positions in C order (as addresses that are a byte apart)."""
    cdef int axis
    cdef npy_intp stride = 1
    cdef npy_intp *places = <npy_intp *>zeros(tensor.ndim, sizeof(npy_intp))
    for axis in range(tensor.ndim - 1, -1, -1):
        places[axis] = stride
        stride *= tensor.shape[axis]
    tensor.views[tensor.slots] = view_t(NULL, places, BFLOAT16)
    return 0


cdef inline void fetch_shape(PyObject *given) noexcept:
    if cnp.PyArray_CheckExact(<object>given):
        fetch(PyArray_DIMS(<ndarray>given))


cdef inline bint has_shape(ndarray grad, const tensor_t *tensor) noexcept:
    cdef int axis
    if PyArray_NDIM(grad) != tensor.ndim:
        return False
    for axis in range(tensor.ndim):
        if PyArray_DIMS(grad)[axis] != tensor.shape[axis]:
            return False
    return True


cdef inline bint stands(ndarray param, const tensor_t *tensor, storage stored) noexcept:
    """True if a parameter (or its copy, if that is the caller's) has not changed since it was planned."""
    cdef const view_t *view = &tensor.views[tensor.copy]
    cdef unsigned straight = PyArray_IS_C_CONTIGUOUS(param)
    cdef int axis
    if PyArray_DATA(param) != tensor.data and tensor.count or stored != view.storage or not has_shape(param, tensor):
        return False
    if straight != (tensor.straight >> tensor.copy & 1):
        return False
    if not straight:
        for axis in range(tensor.ndim):
            if PyArray_STRIDES(param)[axis] != view.strides[axis]:
                return False
    return True


cdef inline int move_grad(tensor_t *tensor, job_t *job, ndarray grad) except -1:
    """Record the gradient's address and strides; the plan remains valid if only the address has changed."""
    cdef char *data = <char *>PyArray_DATA(grad)
    cdef unsigned straight = <unsigned>PyArray_IS_C_CONTIGUOUS(grad) << 1
    cdef npy_intp *strides = <npy_intp *>tensor.views[1].strides
    if tensor.planned and straight and tensor.straight & 2 and tensor.stored == tensor.grad_storage:
        job.data[1] += data - tensor.grad
    else:
        tensor.planned = False
    if tensor.ndim:
        memcpy(strides, PyArray_STRIDES(grad), tensor.ndim * sizeof(npy_intp))
    tensor.views[1].data = tensor.grad = data
    tensor.views[1].storage = tensor.grad_storage = tensor.stored
    tensor.straight = tensor.straight & ~2u | straight
    return 0


cdef inline bint is_where(ndarray grad, const tensor_t *tensor) noexcept:
    """True if a gradient has not changed since `move_grad` recorded it."""
    cdef int axis
    if PyArray_DATA(grad) != tensor.grad or not has_shape(grad, tensor):
        return False
    for axis in range(tensor.ndim):
        if PyArray_STRIDES(grad)[axis] != tensor.views[1].strides[axis] and tensor.shape[axis] > 1 and tensor.count:
            return False
    return cnp.PyArray_ITEMSIZE(grad) == storage_size(tensor.stored)


cdef inline bint shares(const tensor_t *tensor, int64_t step, const work_t *work) noexcept:
    return (
        work.step == step and work.group == tensor.group and work.is_float64 == tensor.is_float64
        and work.noisy == tensor.noisy and work.average == tensor.average and work.copy == tensor.copy
    )


cdef inline int plan(tensor_t *tensor, job_t *job, const task_t *task) except -1:
    """Divide one tensor's update into units."""
    if not plan_job(job, task, tensor.views, tensor.ndim, tensor.shape):
        raise MemoryError
    tensor.units, tensor.planned = job.units, True
    return 0


cdef inline int rescale(scalars_t *scalars, bint is_float64, double grad_scale, double factor) except -1:
    """Multiply the gradient's scale, which is the first scalar."""
    if grad_scale != 0.0 and abs(grad_scale * factor) < (DBL_MIN if is_float64 else FLT_MIN):
        raise ValueError(
            f"grad_scale is {grad_scale}, which times the clipping factor {factor} underflows to 0 in "
            f"{'float64' if is_float64 else 'float32'}; expected smaller gradients, or a larger limit for their norm"
        )
    grad_scale *= factor
    if is_float64:
        scalars.float64[0] = grad_scale
    else:
        scalars.float32[0] = <float>grad_scale
    return 0
