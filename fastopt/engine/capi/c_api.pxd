"""The rules as C structs, declared in fastopt.h."""

cdef extern from "fastopt.h" nogil:
    ctypedef void (*fastopt_kernel)(void **, Py_ssize_t, const void *) noexcept
    ctypedef struct fastopt_rule:
        const char *name
        int narrays
        int nscalars
        const char **arrays
        const char **scalars
        fastopt_kernel kernels[2][4]

cdef const fastopt_rule *rule_named(str name) except NULL
