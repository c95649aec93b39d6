"""The structures of dlpack.h, version 1."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef struct DLDevice:
    int32_t device_type, device_id

cdef struct DLDataType:
    uint8_t code, bits
    uint16_t lanes

cdef struct DLTensor:
    void *data
    DLDevice device
    int32_t ndim
    DLDataType dtype
    int64_t *shape
    int64_t *strides
    uint64_t byte_offset

ctypedef void (*deleter_t)(void *) noexcept

cdef struct DLManagedTensor:
    DLTensor dl_tensor
    void *manager_ctx
    deleter_t deleter

cdef struct DLPackVersion:
    uint32_t major, minor

cdef struct DLManagedTensorVersioned:
    DLPackVersion version
    void *manager_ctx
    deleter_t deleter
    uint64_t flags
    DLTensor dl_tensor

# A library's table of C functions for exchanging arrays without Python code; on the host they do not synchronise.
cdef struct DLPackExchangeAPI:
    DLPackVersion version
    void *older
    void *allocate
    int (*managed_tensor_from_py_object_no_sync)(void *, DLManagedTensorVersioned **) noexcept
    void *to_py_object
    int (*dltensor_from_py_object_no_sync)(void *, DLTensor *) noexcept
    void *current_work_stream

cdef enum:
    COMPLEX_CODE = 5
    CPU = 1
    CUDA = 2
    CUDA_HOST = 3
