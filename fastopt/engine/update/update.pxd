from fastopt.engine.update.job cimport codec_t, describe, kernel_t, task_t

cdef union scalars_t:
    float float32[32]
    double float64[32]

# The data about a rule's scalars that rounding needs: their number; the position of the one that is added to a root, or -1;
# and a bit for each that must not underflow to 0.
cdef struct rounding_t:
    Py_ssize_t count
    Py_ssize_t eps
    unsigned kept


cdef class Update:
    cdef readonly object rule, coefficients, reference, check
    cdef readonly str scale, backend
    cdef readonly tuple arrays, scalars, hyperparameters
    cdef dict siblings
    cdef int grad
    cdef rounding_t rounding
    cdef kernel_t kernels[2][4]
    cdef const codec_t *codecs[2]

    cpdef tuple prepare(self, tuple hyperparameters)
    cdef Update on(self, backend)
    cdef int load(self, bint is_float64, int variant) except -1


cdef class Variants:
    cdef readonly dict updates
    cdef readonly Update only
    cdef readonly object condition
    cdef readonly tuple asked, optional, hyperparameters
    cdef tuple checks, positions
    cdef list by_given
    cdef Py_ssize_t flag, required

    cdef Update choose(self, tuple arrays, tuple hyperparameters)
    cdef Update of_flag(self, value)


cdef int convert_scalars(Update update, tuple scalars, bint is_float64, scalars_t *converted, tuple hyperparameters) except -1
cdef Py_ssize_t round_scalars(
    const rounding_t *rounding, const double *scalars, bint is_float64, scalars_t *converted
) noexcept nogil


cdef inline int variant_of(tuple scalars):
    """Return the variant of the rule for these coefficients: see fastopt/codegen/parse.py."""
    return (scalars[1] != 0.0) + 2 * (scalars[2] != 0.0)


cdef inline int fill_task(task_t *task, Update update, int variant, bint is_float64) except -1:
    if update.kernels[is_float64][variant] == NULL:
        update.load(is_float64, variant)
    describe(task, <int>len(update.arrays), update.grad, is_float64)
    task.kernel = update.kernels[is_float64][variant]
    task.codecs = update.codecs[is_float64]
    return 0
