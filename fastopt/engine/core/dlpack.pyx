# cython: language_level=3
"""Imports arrays of other libraries through DLPack, including bfloat16, which numpy.from_dlpack refuses."""

import sys

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_SetName
from libc.stdint cimport uint8_t
cimport numpy as cnp
from numpy cimport npy_intp

from fastopt.specs.dtypes import FLOATS

from fastopt.engine.core.dlpack_abi cimport (
    COMPLEX_CODE, CPU, CUDA, CUDA_HOST, DLManagedTensor, DLManagedTensorVersioned, DLPackVersion, DLTensor,
)
from fastopt.engine.core.exchange cimport export_unasked, is_recorded, is_tensor

cnp.import_array()

cdef enum:
    FLOAT_CODE = 2
    BFLOAT_CODE = 4
    READ_ONLY = 1

# The device number of arrays in host memory.
HOST = -1

# Libraries with immutable arrays that they export as writable (JAX 0.10, TensorFlow).
IMMUTABLE = {"jax", "jaxlib", "tensorflow"}

# NumPy's type numbers by DLPack's type code and bits, except floating-point types.
OTHER_NUMBERS = {
    (0, 8): cnp.NPY_INT8, (0, 16): cnp.NPY_INT16, (0, 32): cnp.NPY_INT32, (0, 64): cnp.NPY_INT64,
    (1, 8): cnp.NPY_UINT8, (1, 16): cnp.NPY_UINT16, (1, 32): cnp.NPY_UINT32, (1, 64): cnp.NPY_UINT64,
    (COMPLEX_CODE, 64): cnp.NPY_COMPLEX64, (COMPLEX_CODE, 128): cnp.NPY_COMPLEX128, (6, 8): cnp.NPY_BOOL,
}

# Names of the types that exist in several sizes, and of those that exist in one size.
CODE_NAMES = {0: "int", 1: "uint", 2: "float", 3: "handle", 4: "bfloat", 5: "complex"}
SIZED_NAMES = dict(enumerate((
    "bool", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn",
), start=6))

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX


cdef class Owner:
    """Keep the producer's memory alive for the lifetime of an ndarray that refers to it."""

    cdef DLManagedTensor *unversioned
    cdef DLManagedTensorVersioned *versioned

    def __dealloc__(self):
        if self.unversioned != NULL and self.unversioned.deleter != NULL:
            self.unversioned.deleter(self.unversioned)
        if self.versioned != NULL and self.versioned.deleter != NULL:
            self.versioned.deleter(self.versioned)


cpdef tuple import_array(producer, str name):
    """Return an ndarray over the producer's memory, whether it is bfloat16 (then shown as uint16), and its device number.

    The number is HOST or that of a CUDA device; in the latter case the ndarray's elements must not be accessed.
    """
    cdef Owner owner = Owner.__new__(Owner)
    cdef DLTensor *tensor
    cdef bint read_only
    owner.versioned = export_unasked(producer)
    if owner.versioned != NULL:
        expect_version(owner, name)
        array, is_bfloat16 = view_of_tensor(&owner.versioned.dl_tensor, owner, False, name)
        return array, is_bfloat16, HOST
    capsule = export(producer, name)
    # A wrapper that forwards attributes (flax.nnx.Variable) returns the wrapped array's method.
    exporter = getattr(producer.__dlpack__, "__self__", producer)
    read_only = type(exporter).__module__.partition(".")[0] in IMMUTABLE
    if PyCapsule_IsValid(capsule, "dltensor_versioned"):
        owner.versioned = <DLManagedTensorVersioned *>PyCapsule_GetPointer(capsule, "dltensor_versioned")
        PyCapsule_SetName(capsule, "used_dltensor_versioned")
        expect_version(owner, name)
        tensor = &owner.versioned.dl_tensor
        read_only |= owner.versioned.flags & READ_ONLY
    elif PyCapsule_IsValid(capsule, "dltensor"):
        owner.unversioned = <DLManagedTensor *>PyCapsule_GetPointer(capsule, "dltensor")
        PyCapsule_SetName(capsule, "used_dltensor")
        tensor = &owner.unversioned.dl_tensor
    else:
        raise TypeError(f"{name} is a {type(producer).__name__} whose __dlpack__ gives no tensor; expected a DLPack capsule")
    array, is_bfloat16 = view_of_tensor(tensor, owner, read_only, name)
    return array, is_bfloat16, (tensor.device.device_id if tensor.device.device_type == CUDA else HOST)


cdef int expect_version(Owner owner, str name) except -1:
    """Raise unless the tensor has the layout declared here: another major version guarantees only the deleter's offset."""
    cdef DLPackVersion version = owner.versioned.version
    if version.major != 1:
        raise BufferError(f"{name} is exported by version {version.major}.{version.minor} of DLPack; expected version 1")
    return 0


cdef object export(producer, str name):
    """Return the producer's capsule; an exception names the array."""
    if is_recorded(producer):
        raise TypeError(
            f"{name} requires grad, and autograd does not record this call; expected its detach(), or the call under torch.no_grad()"
        )
    if is_tensor(producer) and producer.requires_grad:
        producer = producer.detach()
    try:
        device = int(producer.__dlpack_device__()[0])
        if device not in (CPU, CUDA_HOST, CUDA):
            raise BufferError(f"it lies on DLPack device {device}; expected it in the host's memory or on a CUDA device")
        is_negated = getattr(producer, "is_neg", None)  # PyTorch exports such a view as if it were not negated
        if is_negated is not None and is_negated():
            raise BufferError("it is a negated view, use tensor.resolve_neg()")
        # The kernel runs on the producer's stream or on one that waits for it, so the export need not synchronise.
        stream = {"stream": -1} if device == CUDA else {}
        if device == CUDA and is_elsewhere(producer):
            import torch

            with torch.cuda.device(producer.device):  # PyTorch exports only from its current device
                return capsule_of(producer, stream)
        return capsule_of(producer, stream)
    except Exception as error:
        raise TypeError(f"{name} is a {type(producer).__name__} that can't be exported through DLPack: {error}") from error


cdef object capsule_of(producer, dict stream):
    try:
        return producer.__dlpack__(max_version=(1, 0), **stream)
    except TypeError as error:
        if type(error) is not TypeError:  # raised by the producer (PyArrow), not by Python for an unknown argument
            raise
        return producer.__dlpack__(**stream)  # a producer older than DLPack 1


cdef bint is_elsewhere(producer) except -1:
    """True for a PyTorch tensor that is not on PyTorch's current device."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(producer, torch.Tensor) and producer.device.index != torch.cuda.current_device()


cdef tuple view_of_tensor(DLTensor *tensor, Owner owner, bint read_only, str name):
    cdef npy_intp shape[64]
    cdef npy_intp strides[64]
    cdef int axis, number
    cdef npy_intp step, reach, limit = PY_SSIZE_T_MAX
    cdef bint empty = False
    cdef uint8_t code = tensor.dtype.code, bits = tensor.dtype.bits
    if tensor.dtype.lanes == 1 and code == FLOAT_CODE and bits in (16, 32, 64):
        number = cnp.NPY_FLOAT16 if bits == 16 else (cnp.NPY_FLOAT if bits == 32 else cnp.NPY_DOUBLE)
    elif tensor.dtype.lanes == 1 and code == BFLOAT_CODE and bits == 16:
        number = cnp.NPY_UINT16
    elif tensor.dtype.lanes == 1 and (code, bits) in OTHER_NUMBERS:
        number = OTHER_NUMBERS[code, bits]
    else:
        what = SIZED_NAMES.get(code) or f"{CODE_NAMES.get(code, 'type')}{bits}"
        what += f" in vectors of {tensor.dtype.lanes}" if tensor.dtype.lanes != 1 else ""
        raise TypeError(f"{name} has dtype {what}; expected {FLOATS}")
    if not 0 <= tensor.ndim <= 64:
        raise ValueError(f"{name} has {tensor.ndim} dimensions; expected 0 to 64")
    if tensor.shape == NULL and tensor.ndim:
        raise ValueError(f"{name} has {tensor.ndim} dimensions but no shape; expected a shape with one extent for each")
    step = reach = bits // 8
    for axis in range(tensor.ndim - 1, -1, -1):
        shape[axis] = tensor.shape[axis]
        if shape[axis] < 0:
            raise ValueError(f"{name} has shape {shape_of(tensor)}; expected extents of 0 or more")
        if shape[axis] > limit // step:
            refuse_size(tensor, name)
        strides[axis] = step
        if tensor.strides != NULL:
            if not -limit // (bits // 8) <= tensor.strides[axis] <= limit // (bits // 8):
                refuse_size(tensor, name)
            strides[axis] = tensor.strides[axis] * (bits // 8)
        if shape[axis] > 1 and abs(strides[axis]) > (limit - reach) // (shape[axis] - 1):
            refuse_size(tensor, name)
        reach += abs(strides[axis]) * max(shape[axis] - 1, 0)
        step *= max(shape[axis], 1)  # the same limit as NumPy's
        empty |= shape[axis] == 0
    if tensor.data == NULL and not empty:
        raise ValueError(
            f"{name} has no memory of its own (its storage is freed, or it is a wrapper such as DTensor or FakeTensor); "
            f"expected an array that holds its elements"
        )
    array = cnp.PyArray_New(
        cnp.ndarray, tensor.ndim, shape, number, strides,
        <char *>strides if tensor.data == NULL else <char *>tensor.data + tensor.byte_offset,
        0, 0 if read_only else cnp.NPY_ARRAY_WRITEABLE, None,
    )
    cnp.set_array_base(array, owner)
    cnp.PyArray_UpdateFlags(array, cnp.NPY_ARRAY_UPDATE_ALL)
    return array, code == BFLOAT_CODE


cdef tuple shape_of(DLTensor *tensor):
    return tuple([tensor.shape[axis] for axis in range(tensor.ndim)])


cdef int refuse_size(DLTensor *tensor, str name) except -1:
    strides = None if tensor.strides == NULL else tuple([tensor.strides[axis] for axis in range(tensor.ndim)])
    raise ValueError(
        f"{name} has shape {shape_of(tensor)}, strides {strides} in elements and {tensor.dtype.bits // 8} bytes in each; "
        f"expected an array of less than 2**63 bytes"
    )
