# cython: language_level=3, boundscheck=False, wraparound=False
"""PyTorch's tensors by a table of C functions, ``__dlpack_c_exchange_api__`` of DLPack 1.3, where PyTorch has one (2.13).

A tensor costs an update 0.7 us so, and 12 by ``__dlpack__``, most of whose time is Python's.
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

# PyTorch's table (NULL: there is none), and its types whose tensors are what the table says, once PyTorch has been seen.
cdef const DLPackExchangeAPI *table = NULL
cdef object tensor_type = None
cdef object parameter_type = None


cdef bint look_for_table() except -1:
    """Find PyTorch's table, if PyTorch has been imported; return whether there is one."""
    global table, tensor_type, parameter_type
    if tensor_type is None:
        torch = sys.modules.get("torch")
        parameter_type = getattr(getattr(torch, "nn", None), "Parameter", None)
        if parameter_type is None:  # not imported, or not yet to the end
            return False
        tensor_type = torch.Tensor
        capsule = getattr(tensor_type, "__dlpack_c_exchange_api__", None)
        if PyCapsule_IsValid(capsule, "dlpack_exchange_api"):
            table = <const DLPackExchangeAPI *>PyCapsule_GetPointer(capsule, "dlpack_exchange_api")
            if table.version.major != 1 or table.dltensor_from_py_object_no_sync == NULL:
                table = NULL
    return table != NULL


cdef DLManagedTensorVersioned *export_unasked(producer) except? NULL:
    """Return a tensor's memory, which is then to be given back; NULL if ``__dlpack__`` must be asked, which may refuse.

    Not of subclasses, which may see to their ``__dlpack__`` themselves.
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
    # A complex view may be conjugated, which is not said here; __dlpack__ refuses it.
    if managed.dl_tensor.device.device_type not in (CPU, CUDA_HOST) or managed.dl_tensor.dtype.code == COMPLEX_CODE:
        managed.deleter(managed)
        return NULL
    return managed


def has_table():
    """Return whether tensors can be looked at: see `TensorFingerprint`."""
    return look_for_table()


# ---- What autograd must know


cdef bint is_recorded(producer) except -1:
    """True of a tensor that requires grad, unless it is under ``torch.no_grad()``: autograd would have to record what is done."""
    return is_tensor(producer) and producer.requires_grad and sys.modules["torch"].is_grad_enabled()


cdef bint is_tensor(array) noexcept:
    """True of a tensor of PyTorch, once one has been seen."""
    return tensor_type is not None and PyObject_TypeCheck(array, <PyTypeObject *>tensor_type)


cdef int wrote_all_but(tuple arrays, Py_ssize_t only_read, Py_ssize_t period) except -1:
    """As `wrote`, of several tensors' arrays, so many each, of which one is only read."""
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
    """Tell PyTorch which of these arrays are tensors that have changed: what autograd has saved of them is out of date."""
    look_for_table()
    wrote_all_but(tuple(arrays), -1, 1)


cdef int increment_versions(list tensors) except -1:
    increment = sys.modules["torch"].autograd.graph.increment_version
    try:
        increment(tensors)
    except (AttributeError, RuntimeError, TypeError):  # an older PyTorch takes one; those of inference mode have none
        for tensor in tensors:
            if not tensor.is_inference():
                increment(tensor)
    return 0


# ---- Whether tensors stand as they did


cdef class TensorFingerprint:
    """How tensors stood in memory when this was made: their addresses, types, shapes and strides.

    Parameters
    ----------
    tensors : list of torch.Tensor
        They are not kept.

    Raises
    ------
    RuntimeError
        One has no memory of its own that its elements could be found in.
    """

    cdef bytes described  # one tensor's after another's: see `describe`

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
        """Return whether these tensors stand where those did, and look like them."""
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
    """Write down how a tensor stands; return how many bytes that takes, or 0 if it can't be looked at."""
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
    """Find out how a tensor stands, without taking hold of it; return whether that could be done."""
    if not PyObject_TypeCheck(tensor, <PyTypeObject *>tensor_type):
        return False
    if table.dltensor_from_py_object_no_sync(<void *>tensor, found) != 0:
        PyErr_Clear()
        return False
    found.data = <char *>found.data + found.byte_offset
    return True


# ---- Numbers in tensors of one element


def read_numbers(list tensors, cnp.ndarray stored, cnp.ndarray values):
    """Read tensors of one element; return whether one holds another number than it did.

    Parameters
    ----------
    tensors : list of torch.Tensor
    stored : ndarray of float64
        What they held, and hold.
    values : ndarray of float64
        Where one holds another number, that.
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
    """Add 1 to tensors of one element, or multiply them, where they are.

    Parameters
    ----------
    tensors : list of torch.Tensor
    stored, values : ndarray of float64
        As of `read_numbers`. If another process has written a tensor since then, its present number is advanced; the next
        `read_numbers` then finds that it differs from what is stored.
    active : ndarray of bool
        Which tensors change.
    factors : ndarray of float64, or None
        What they are multiplied by. None: 1 is added, and values count on where the tensor's dtype is too small for them.
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
    """Return whether two lists hold the same objects, which are not compared by their values."""
    cdef Py_ssize_t i
    if len(some) != len(others):
        return False
    for i in range(len(some)):
        if <PyObject *>some[i] != <PyObject *>others[i]:
            return False
    return True


def holds_values(state, list values):
    """Return whether the dicts in an optimizer's state, which is one, too, hold these very objects and no others."""
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
    """Return where a tensor has its one number, and of which size, if it is float32 or float64 in the host's memory; else size 0."""
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
