# cython: language_level=3, boundscheck=False, wraparound=False
"""Access to PyTorch tensors by the C functions of ``__dlpack_c_exchange_api__`` (DLPack 1.3, as in PyTorch 2.13).

This takes 0.7 us per tensor of an update; ``__dlpack__`` takes 12 us, most of it in Python code.
"""

import sys

from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.exc cimport PyErr_Clear
from cpython.object cimport PyObject, PyTypeObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy
cimport numpy as cnp

from fastopt.engine.core.dlpack_abi cimport COMPLEX_CODE, CPU, CUDA_HOST, DLDataType, DLManagedTensorVersioned, DLPackExchangeAPI, DLTensor

cnp.import_array()

cdef enum:
    FLOAT_CODE = 2
    MAX_DIMS = 64

cdef extern from "Python.h":
    bint PyObject_TypeCheck(object, PyTypeObject *)

# PyTorch's table (NULL: it has none) and the types of tensors that it applies to, once PyTorch has been imported.
cdef const DLPackExchangeAPI *table = NULL
cdef object tensor_type = None
cdef object parameter_type = None


cdef bint look_for_table() except -1:
    """Look up PyTorch's table if PyTorch has been imported; return whether it exists."""
    global table, tensor_type, parameter_type
    if tensor_type is None:
        torch = sys.modules.get("torch")
        parameter_type = getattr(getattr(torch, "nn", None), "Parameter", None)
        if parameter_type is None:  # not imported, or still being imported
            return False
        tensor_type = torch.Tensor
        capsule = getattr(tensor_type, "__dlpack_c_exchange_api__", None)
        if PyCapsule_IsValid(capsule, "dlpack_exchange_api"):
            table = <const DLPackExchangeAPI *>PyCapsule_GetPointer(capsule, "dlpack_exchange_api")
            if table.version.major != 1 or table.dltensor_from_py_object_no_sync == NULL:
                table = NULL
    return table != NULL


cdef DLManagedTensorVersioned *export_unasked(producer) except? NULL:
    """Export a tensor, which the caller must release; return NULL if ``__dlpack__`` must be called, which may refuse.

    Subclasses return NULL because they may define ``__dlpack__`` themselves.
    """
    cdef DLManagedTensorVersioned *managed = NULL
    if type(producer) is not tensor_type and type(producer) is not parameter_type:
        if tensor_type is not None or not look_for_table():
            return NULL
        return export_unasked(producer) if type(producer) in (tensor_type, parameter_type) else NULL
    if table == NULL or producer.is_neg() or is_recorded(producer):
        return NULL
    if table.managed_tensor_from_py_object_no_sync(<void *>producer, &managed) != 0:
        PyErr_Clear()
        return NULL
    # The table does not report whether a complex view is conjugated; __dlpack__ refuses such views.
    if managed.dl_tensor.device.device_type not in (CPU, CUDA_HOST) or managed.dl_tensor.dtype.code == COMPLEX_CODE:
        managed.deleter(managed)
        return NULL
    return managed


def has_table():
    """Return whether tensors can be described without exporting them: see `TensorFingerprint`."""
    return look_for_table()


# ---- Autograd


cdef bint is_recorded(producer) except -1:
    """True for a tensor that requires grad outside ``torch.no_grad()``: autograd would have to record the call."""
    return is_tensor(producer) and producer.requires_grad and sys.modules["torch"].is_grad_enabled()


cdef bint is_tensor(array) noexcept:
    """True for a PyTorch tensor, once PyTorch has been imported."""
    return tensor_type is not None and PyObject_TypeCheck(array, <PyTypeObject *>tensor_type)


cdef int wrote_all_but(tuple arrays, Py_ssize_t only_read, Py_ssize_t period) except -1:
    """Like `wrote`, for the arrays of several tensors, ``period`` each, one of which is not written."""
    cdef Py_ssize_t i
    cdef list written
    if tensor_type is None:
        return 0
    written = []
    for i in range(len(arrays)):
        if i % period != only_read and is_tensor(arrays[i]):
            written.append(arrays[i])
    if written:
        increment_versions(written)
    return 0


def wrote(arrays):
    """Increment the version of the PyTorch tensors among these arrays, so that autograd rejects values it saved of them."""
    look_for_table()
    wrote_all_but(tuple(arrays), -1, 1)


cdef int increment_versions(list tensors) except -1:
    increment = sys.modules["torch"].autograd.graph.increment_version
    try:
        increment(tensors)
    except (AttributeError, RuntimeError, TypeError):  # an older PyTorch accepts one tensor; inference tensors have no version
        for tensor in tensors:
            if not tensor.is_inference():
                increment(tensor)
    return 0


# ---- Whether tensors are unchanged


cdef class TensorFingerprint:
    """The addresses, types, shapes and strides of tensors at the time of construction.

    Parameters
    ----------
    tensors : list of torch.Tensor
        The object does not keep references to them.

    Raises
    ------
    RuntimeError
        If a tensor has no memory that holds its elements.
    """

    cdef bytes described  # the descriptions of all tensors, concatenated: see `describe`

    def __init__(self, list tensors):
        cdef int64_t words[3 + 2 * MAX_DIMS]
        cdef Py_ssize_t i, size
        cdef list parts = []
        for i in range(len(tensors)):
            size = describe(tensors[i], words)
            if size == 0:
                raise RuntimeError(f"tensor {i} has no memory of its own")
            parts.append((<char *>words)[:size])
        self.described = b"".join(parts)

    def holds(self, list tensors):
        """Return whether these tensors have the same addresses, types, shapes and strides."""
        cdef int64_t words[3 + 2 * MAX_DIMS]
        cdef const char *place = self.described
        cdef const char *end = place + len(self.described)
        cdef Py_ssize_t i, size
        for i in range(len(tensors)):
            size = describe(tensors[i], words)
            if size == 0 or size > end - place or memcmp(words, place, size) != 0:
                return False
            place += size
        return place == end


cdef Py_ssize_t describe(tensor, int64_t *words) noexcept:
    """Write a tensor's description; return its number of bytes, or 0 if the tensor can't be described."""
    cdef DLTensor found
    cdef Py_ssize_t ndim
    if not look(tensor, &found) or found.ndim > MAX_DIMS:
        return 0
    ndim = found.ndim
    words[0], words[1], words[2] = <int64_t>found.data, ndim, 0
    memcpy(&words[2], &found.dtype, sizeof(DLDataType))
    memcpy(&words[3], found.shape, ndim * sizeof(int64_t))
    memcpy(&words[3 + ndim], found.strides, ndim * sizeof(int64_t))
    return (3 + 2 * ndim) * sizeof(int64_t)


cdef bint look(tensor, DLTensor *found) noexcept:
    """Get a tensor's description without a reference to it; return whether that succeeded."""
    if not PyObject_TypeCheck(tensor, <PyTypeObject *>tensor_type):
        return False
    if table.dltensor_from_py_object_no_sync(<void *>tensor, found) != 0:
        PyErr_Clear()
        return False
    found.data = <char *>found.data + found.byte_offset
    return True


# ---- Numbers in one-element tensors


def read_numbers(list tensors, cnp.ndarray stored, cnp.ndarray values):
    """Read one-element tensors; return whether a value has changed.

    Parameters
    ----------
    tensors : list of torch.Tensor
    stored : ndarray of float64
        The values at the last call; updated to the present ones.
    values : ndarray of float64
        Set to the present value where it has changed.
    """
    cdef double *held = <double *>cnp.PyArray_DATA(stored)
    cdef double *value = <double *>cnp.PyArray_DATA(values)
    cdef double number
    cdef void *place
    cdef int size
    cdef bint differs = False
    cdef Py_ssize_t i
    for i in range(len(tensors)):
        place = find_number(tensors[i], &size)
        number = number_at(place, size) if size else tensors[i].item()
        if number != held[i]:
            held[i] = value[i] = number
            differs = True
    return differs


def advance_numbers(list tensors, cnp.ndarray stored, cnp.ndarray values, cnp.ndarray active, cnp.ndarray factors):
    """Add 1 to one-element tensors, or multiply them, in place.

    Parameters
    ----------
    tensors : list of torch.Tensor
    stored, values : ndarray of float64
        As in `read_numbers`. If another process has written a tensor since then, the present number is advanced; the next
        `read_numbers` detects that it differs from ``stored``.
    active : ndarray of bool
        Which tensors change.
    factors : ndarray of float64, or None
        The factors. None: 1 is added, and ``values`` continues to count where the tensor's dtype can't hold the count.
    """
    cdef double *held = <double *>cnp.PyArray_DATA(stored)
    cdef double *value = <double *>cnp.PyArray_DATA(values)
    cdef double *factor = NULL if factors is None else <double *>cnp.PyArray_DATA(factors)
    cdef char *change = <char *>cnp.PyArray_DATA(active)
    cdef double now, number
    cdef void *place
    cdef int size
    cdef Py_ssize_t i
    for i in range(len(tensors)):
        if not change[i]:
            continue
        place = find_number(tensors[i], &size)
        now = number_at(place, size) if size else tensors[i].item()
        number = value[i] if now == held[i] else now
        number = number + 1 if factor == NULL else number * factor[i]
        if size == sizeof(float):
            (<float *>place)[0] = <float>number
        elif size == sizeof(double):
            (<double *>place)[0] = number
        else:
            tensors[i].fill_(number)
        if now == held[i]:
            held[i] = number_at(place, size) if size else tensors[i].item()
            value[i] = number if factor == NULL else held[i]


def same_objects(list some, list others):
    """Return whether two lists hold identical objects; values are not compared."""
    cdef Py_ssize_t i
    if len(some) != len(others):
        return False
    for i in range(len(some)):
        if <PyObject *>some[i] != <PyObject *>others[i]:
            return False
    return True


def holds_values(state, list values):
    """Return whether the dicts in an optimizer's state dict hold exactly these objects."""
    cdef PyObject *entries
    cdef PyObject *value
    cdef Py_ssize_t place = 0, inner, i = 0, count = len(values)
    if not isinstance(state, dict):
        return False
    while PyDict_Next(state, &place, NULL, &entries):
        if not PyDict_CheckExact(<object>entries):
            continue
        inner = 0
        while PyDict_Next(<object>entries, &inner, NULL, &value):
            if i == count or value != <PyObject *>values[i]:
                return False
            i += 1
    return i == count


cdef void *find_number(tensor, int *size) noexcept:
    """Return the address and size of a tensor's number if it is float32 or float64 in host memory; otherwise size 0."""
    cdef DLTensor found
    cdef int axis
    size[0] = 0
    if table == NULL or not look(tensor, &found) or found.device.device_type != CPU or found.data == NULL:
        return NULL
    for axis in range(found.ndim):
        if found.shape[axis] != 1:
            return NULL
    if found.dtype.code == FLOAT_CODE and found.dtype.bits in (32, 64):
        size[0] = found.dtype.bits // 8
    return found.data


cdef double number_at(void *place, int size) noexcept:
    return (<float *>place)[0] if size == sizeof(float) else (<double *>place)[0]
