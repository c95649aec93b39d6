from fastopt.engine.core.dlpack_abi cimport DLManagedTensorVersioned


cdef DLManagedTensorVersioned *export_unasked(producer) except? NULL
cdef bint is_recorded(producer) except -1
cdef bint is_tensor(array) noexcept
cdef int wrote_all_but(tuple arrays, Py_ssize_t only_read, Py_ssize_t period) except -1
