from fastopt.engine.update.job cimport list_t


cdef int run_list(list_t *todo, Py_ssize_t units, int threads, bint is_tiled, bint releases_gil) except -1
