# cython: language_level=3, boundscheck=False, wraparound=False
"""A package beside fastopt that calls its kernels: what docs/calling-from-cython.md does not show."""

from fastopt cimport kernels

ctypedef void (*adamw_t)(
    double *, const double *, double *, double *, Py_ssize_t, const kernels.adam_scalars_float64 *
) noexcept nogil


def adam(
    float[::1] param, const float[::1] grad, float[::1] m, float[::1] v, const float[::1] scalars, Py_ssize_t calls=1
):
    """Call one function over and over; ``scalars`` as `fastopt.kernel` prepares them are the struct."""
    cdef const kernels.adam_scalars_float32 *prepared = <const kernels.adam_scalars_float32 *>&scalars[0]
    cdef Py_ssize_t i, n = param.shape[0]
    with nogil:
        for i in range(calls):
            kernels.adam_float32(&param[0], &grad[0], &m[0], &v[0], n, prepared)


def adamw(double[::1] param, const double[::1] grad, double[::1] m, double[::1] v, const double[::1] scalars):
    """Call by a pointer."""
    cdef adamw_t update = kernels.adam_float64
    update(
        &param[0], &grad[0], &m[0], &v[0], param.shape[0], <const kernels.adam_scalars_float64 *>&scalars[0]
    )
