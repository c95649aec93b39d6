"""One tensor of a plan: what the engine keeps of it, and what is done with it by itself."""

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
    /* Arrays of 2,000 tensors lie apart, where no processor guesses the next. Where other work has filled the caches
     * between steps, a step takes 0.42 ms so, and 0.46 without; where nothing has, 0.10 either way. */
    #define LOOK_AHEAD 8
    #define fetch(object) __builtin_prefetch(object)
    """
    int LOOK_AHEAD
    void fetch(const void *) noexcept


# A tensor as the engine has it. Its arrays: param, grad, state, then what follows param.
cdef struct tensor_t:
    view_t *views
    char *data  # of the array that is the caller's: param, or the copy
    const npy_intp *shape
    int ndim
    unsigned straight  # bit i: array i is one run in C order
    int narrays  # the rule's
    int slots  # and what follows
    int average
    int copy
    bint wide  # one of its own arrays is float64
    bint is_float64  # that, or this step's gradient is
    bint noisy
    bint active  # it is updated in this step
    bint planned
    bint own  # its job has scalars of its own since the last step
    storage stored  # how this step's gradient is stored
    char *grad  # where the last one stood
    storage grad_storage
    Py_ssize_t group
    Py_ssize_t first  # the position of param among all arrays
    Py_ssize_t count
    Py_ssize_t units
    Py_ssize_t next_work  # the same, at this step
    Py_ssize_t work  # the position of what it shares with others, at the last step; or -1
    sum_t squares[2]  # as measured last

# What tensors share that have the same scalars: a group, and the same number of updates behind them.
cdef struct work_t:
    task_t task
    scalars_t scalars
    noise_t noise
    double grad_scale
    double lr  # NaN: it has none
    Py_ssize_t group
    int64_t step
    bint is_float64
    bint noisy
    int average
    int copy
    # What the rule would do with a learning rate of 1, and without decay of param.
    task_t direction
    scalars_t direction_scalars
    double weight_decay

# The scalars of a tensor that has its own.
cdef struct own_t:
    task_t task
    scalars_t scalars


cdef inline void *zeros(size_t count, size_t size) except NULL:
    return checked(calloc(count or 1, size))


cdef inline int number_places(tensor_t *tensor) except -1:
    """Let a tensor's elements be counted in C order, as by one more array whose elements are a byte apart."""
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
    """True if a parameter, or the copy that is the caller's, is as it was planned."""
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
    """Take note of where a gradient stands; where only that has changed, the plan stays."""
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
    """True if a gradient still is what `move_grad` took note of."""
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
    """Cut one tensor's update into units."""
    if not plan_job(job, task, tensor.views, tensor.ndim, tensor.shape):
        raise MemoryError
    tensor.units, tensor.planned = job.units, True
    return 0


cdef inline int rescale(scalars_t *scalars, bint is_float64, double grad_scale, double factor) except -1:
    """Multiply the factor on the gradient, the first of all scalars."""
    if grad_scale != 0.0 and abs(grad_scale * factor) < (DBL_MIN if is_float64 else FLT_MIN):
        raise ValueError(
            f"grad_scale vanishes in {'float64' if is_float64 else 'float32'}: it is {grad_scale}, and clipping multiplies it "
            f"by {factor}; expected smaller gradients, or a larger limit for their norm"
        )
    grad_scale *= factor
    if is_float64:
        scalars.float64[0] = grad_scale
    else:
        scalars.float32[0] = <float>grad_scale
    return 0
