from fastopt.engine.dlpack cimport DLManagedTensorVersioned


cdef DLManagedTensorVersioned *export_unasked(producer) except? NULL
