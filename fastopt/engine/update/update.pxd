from fastopt.engine.update.job cimport codec_t, kernel_t

cdef union scalars_t:
    float float32[32]
    double float64[32]

# What rounding has to know of a rule's scalars: how many there are; which one is added to a root, or -1; and, by bits,
# which never become 0.
cdef struct rounding_t:
    Py_ssize_t count
    Py_ssize_t eps
    unsigned kept


cdef class Update:
    cdef readonly object rule
    cdef readonly object coefficients
    cdef readonly object reference
    cdef readonly str scale
    cdef readonly str backend
    cdef readonly tuple arrays
    cdef readonly tuple scalars
    cdef readonly tuple hyperparameters
    cdef readonly object check
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
    cdef readonly tuple asked
    cdef readonly tuple optional
    cdef readonly tuple hyperparameters
    cdef tuple checks
    cdef tuple positions
    cdef Py_ssize_t flag
    cdef list by_given
    cdef Py_ssize_t required

    cdef Update choose(self, tuple arrays, tuple hyperparameters)
    cdef Update of_flag(self, value)


cdef int convert_scalars(Update update, tuple scalars, bint is_float64, scalars_t *converted, tuple hyperparameters) except -1
cdef Py_ssize_t round_scalars(
    const rounding_t *rounding, const double *scalars, bint is_float64, scalars_t *converted
) noexcept nogil


cdef inline int variant_of(tuple scalars):
    """Which of the rule's variants these coefficients ask for: see fastopt/codegen/parse.py."""
    return (scalars[1] != 0.0) + 2 * (scalars[2] != 0.0)
