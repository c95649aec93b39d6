# cython: language_level=3, boundscheck=False, wraparound=False
"""Runs random operations (initialisation, dropout) with a seed and an offset, on the host or on a device.

Calls leave no state behind.
"""

import numpy

from fastopt.coefficients import random as coefficients
from fastopt.engine.core import devices
from fastopt.engine.core.hyperparameters import whole
from fastopt.engine.core.intake import STORAGE_NAMES
from fastopt.backends import load_table
from fastopt.specs import random as specs
from fastopt.specs.dtypes import COMPUTE_TYPES

from libc.math cimport isfinite
from libc.stdlib cimport free
from libc.string cimport memset
cimport cython
from numpy cimport ndarray, npy_intp

from fastopt.engine.call cimport (
    NONE, Call, Kernels, kernels_of, refuse_bfloat16_bits, releases_gil, store_rounded,
)
from fastopt.engine.core.exchange cimport wrote_all_but
from fastopt.engine.core.intake cimport HOST, array_t, as_view, same_shape, shape_of
from fastopt.engine.update.job cimport (
    BFLOAT16, describe, draw_t, job_t, kernel_t, list_t, number_units, plan_job, purpose, source_t, task_t, view_t,
)
from fastopt.engine.update.run cimport run_list

cimport numpy as cnp

cnp.import_array()

cdef union scalars_t:
    float float32[64]
    double float64[64]


cdef class Kind:
    """A declaration of specs/random.py as the engine uses it; tables are indexed by ``is_float64``."""

    cdef str name
    cdef object element, prepare
    cdef int number
    cdef tuple functions, purposes

    def __init__(self, int number, spec):
        self.number, self.name, self.prepare = number, spec.name, getattr(coefficients, spec.name)
        self.element = spec.element
        self.functions = tuple([spec.kernel(dtype) for dtype in COMPUTE_TYPES])
        self.purposes = tuple([tuple(map(specs.purpose, spec.purposes[dtype])) for dtype in COMPUTE_TYPES])


cdef dict KINDS = {spec.name: Kind(number, spec) for number, spec in enumerate(specs.RANDOM)}
cdef Kind DROPOUT = KINDS["dropout"]

# The names of the kernels, by compute type.
cdef tuple FUNCTIONS = tuple([tuple([spec.kernel(dtype) for spec in specs.RANDOM]) for dtype in COMPUTE_TYPES])

# The kernels compiled ahead of time and the functions that draw bits, by compute type; loaded on first use.
cdef list defaults = [None, None]
cdef draw_t draws[2]


cdef Kernels random_kernels(backend, bint is_float64):
    if backend is None and defaults[is_float64] is not None:
        return <Kernels>defaults[is_float64]
    cdef str dtype = COMPUTE_TYPES[is_float64]
    cdef Kernels kernels = kernels_of("random", <tuple>FUNCTIONS[is_float64], backend, dtype)
    if draws[is_float64] == NULL:
        draws[is_float64] = <draw_t><size_t>load_table("draw", dtype)
    if backend is None:
        defaults[is_float64] = kernels
    return kernels


cdef tuple scalar_names(str function, str dtype):
    """Return the names of a rule's coefficients, for an error."""
    import inspect

    from fastopt.codegen.random import random_rules_of
    from fastopt.rules import random as random_rules

    return random_rules_of(inspect.getsource(random_rules), dtype)[function].scalars


@cython.final
@cython.no_gc
cdef class RandomCall(Call):
    """A call with its seed and offset."""

    cdef unsigned long long seed, offset
    cdef Kind kind

    cdef int start(self, Kind kind, seed, offset, backend, num_threads, stream) except -1:
        self.kind = kind
        self.seed = whole("seed", seed, "a whole number from 0 to 2**64 - 1", 2**64 - 1, 0)
        self.offset = whole("offset", offset, "a whole number from 0 to 2**56 - 1", 2**56 - 1, 0)
        return self.begin(backend, num_threads, stream)

    cdef str function(self):
        """The name of the rule for the compute type."""
        return self.kind.functions[self.has_float64]

    cdef int convert(self, tuple values, scalars_t *converted) except -1:
        """Round the rule's coefficients to the compute type, or raise."""
        cdef Py_ssize_t i
        cdef double value
        for i in range(len(values)):
            value = values[i]
            if self.has_float64:
                converted.float64[i] = value
            else:
                converted.float32[i] = <float>value
                value = converted.float32[i]
            if not isfinite(value) and isfinite(<double>values[i]):  # a limit may be infinite
                name = scalar_names(self.function(), self.dtype())[i]
                raise ValueError(f"{name} is {values[i]}; expected a number that is finite in {self.dtype()}")
        return 0

    cdef object work(self, const scalars_t *converted, Py_ssize_t count):
        """Describe the work for the CUDA dispatch; ``converted`` is NULL for a copy."""
        cdef Py_ssize_t i
        Work = devices.dispatch("random").Work
        if converted == NULL:
            return Work(None, self.dtype(), self.seed, self.offset, (), ())
        scalars = tuple([converted.float64[i] if self.has_float64 else converted.float32[i] for i in range(count)])
        purposes = self.kind.purposes[self.has_float64]
        return Work(self.function(), self.dtype(), self.seed, self.offset, purposes, scalars)

    cdef int run(self, const Py_ssize_t *positions, int narrays, int only_read, scalars_t *scalars) except -1:
        """Plan and run the job over these arrays, of which the first is written.

        No Python code runs after `expect_unchanged`, so the checked arrays can't change even if they are not pinned.
        """
        cdef Kernels kernels = random_kernels(self.backend, self.has_float64)
        cdef tuple purposes = self.kind.purposes[self.has_float64]
        cdef const array_t *first = &self.looked[positions[0]]
        cdef npy_intp strides[64]
        cdef npy_intp stride = 1
        cdef view_t views[3]
        cdef task_t task
        cdef job_t job
        cdef list_t todo = list_t(&job, 1, 0, 0, False, NULL)
        cdef Py_ssize_t i
        cdef int axis
        describe(&task, narrays, only_read, self.has_float64)
        task.kernel = <kernel_t>kernels.load(self.kind.number, 0)
        task.codecs, task.draw, task.scalars = kernels.codecs, draws[self.has_float64], scalars
        task.sources = <int>len(purposes)
        for i in range(task.sources):
            task.source[i] = source_t(self.seed, self.offset, <purpose><int>purposes[i])
        for i in range(narrays):
            views[i] = as_view(&self.looked[positions[i]])
        # After the arrays come the elements' positions in C order, for which bits are drawn.
        memset(strides, 0, sizeof(strides))
        for axis in range(first.ndim - 1, -1, -1):
            strides[axis] = stride
            stride *= first.dims[axis]
        views[narrays] = view_t(NULL, &strides[0], BFLOAT16)  # `strides` would copy the elements
        self.expect_unchanged()
        job.layout = NULL
        if not plan_job(&job, &task, views, first.ndim, first.dims):
            raise MemoryError
        number_units(&todo)
        try:
            return run_list(&todo, self.wanted, releases_gil(4 * job.count, self.is_held))
        finally:
            free(job.layout)


def fill(spec, param, tuple hyperparameters, seed, offset, backend, num_threads, stream, str name="param"):
    """Fill one array with random numbers, or add them to it; or raise with nothing written."""
    cdef RandomCall call = RandomCall.__new__(RandomCall)
    cdef Py_ssize_t[2] positions  # of what is written, and read
    cdef Py_ssize_t at_param
    cdef scalars_t scalars
    cdef tuple values
    call.start(<Kind>KINDS[spec.name], seed, offset, backend, num_threads, stream)
    at_param = call.take(param, name, True)
    call.hold(cnp.PyArray_SIZE(<ndarray>call.arrays[0]), backend is not None)
    call.check(at_param)
    call.choose_backend()
    values = call.kind.prepare(STORAGE_NAMES[call.stored[at_param]], *hyperparameters)
    call.convert(values, &scalars)
    if call.device != HOST:
        work = call.work(&scalars, len(values))
        devices.dispatch("random").fill(work, param, call.view(at_param), call.kind.element, call.device, call.stream)
    elif call.is_reference:
        fill_by_reference(call, values, hyperparameters)
    else:
        positions[0] = positions[1] = at_param
        call.run(positions, 1, -1, &scalars) if call.kind.element is None else call.run(positions, 2, 1, &scalars)
    wrote_all_but((param,), -1, 1)


cdef int fill_by_reference(RandomCall call, tuple values, tuple hyperparameters) except -1:
    """Compute by the plain formula; what fills an array, within the limits, which are the last two coefficients."""
    from fastopt.reference import random as reference  # imported late: it would delay the import of fastopt

    refuse_bfloat16_bits(call.arrays)
    formula = getattr(reference, call.kind.name)
    given = shape_of(&call.looked[0]) if call.kind.element is None else call.arrays[0]
    drawn = formula(given, call.dtype(), call.seed, call.offset, *hyperparameters)
    if call.kind.element is not None:
        return store_rounded(<ndarray>call.arrays[0], drawn)
    return store_rounded(<ndarray>call.arrays[0], numpy.clip(drawn, *values[len(values) - 2 :]))


def drop(x, str name, out, double p, double scale, seed, offset, backend, num_threads, stream):
    """Apply dropout with these parameters to x (called ``name`` in messages); write to ``out`` or to a new array."""
    cdef RandomCall call = RandomCall.__new__(RandomCall)
    cdef Py_ssize_t[2] positions  # of the written array, and of x
    cdef Py_ssize_t at_x, at_out
    cdef scalars_t scalars
    cdef tuple values
    cdef bint is_copy
    given = out
    call.start(DROPOUT, seed, offset, backend, num_threads, stream)
    at_x = call.take(x, name, False)
    call.choose_backend()
    at_out = call.take_optional(out, "out", True)
    call.hold(0, True)
    call.check(at_x)
    if at_out != NONE:
        call.check(at_out)
        if not same_shape(&call.looked[at_out], &call.looked[at_x]):
            expected = shape_of(&call.looked[at_x])
            raise ValueError(f"out has shape {shape_of(&call.looked[at_out])}; expected {expected}, the shape of {name}")
        call.refuse_overlaps_but_in_place(at_out)
    elif call.device == HOST:
        at_out = call.own_like(at_x, "out")
        out = call.arrays[at_out]
    # A copy preserves all bits, including those of subnormal numbers and signalling NaNs, which kernels change.
    is_copy = scale == 1 and p == 0 and (at_out == NONE or call.stored[at_out] == call.stored[at_x])
    if not is_copy:
        values = call.kind.prepare(call.dtype(), p, scale)
    if call.device != HOST:
        if not is_copy:
            call.convert(values, &scalars)
        work = call.work(NULL if is_copy else &scalars, 0 if is_copy else len(values))
        target = None if at_out == NONE else call.view(at_out)
        out = devices.dispatch("random").drop(work, x, name, call.view(at_x), out, target, call.device, call.stream)
    elif call.is_reference:
        from fastopt.reference import random as reference

        refuse_bfloat16_bits(call.arrays)
        dropped = reference.dropout(call.arrays[at_x], p, scale, call.seed, call.offset)
        store_rounded(<ndarray>call.arrays[at_out], dropped)
    elif is_copy:
        whole_numbers = f"u{cnp.PyArray_ITEMSIZE(<ndarray>call.arrays[at_x])}"
        call.arrays[at_out].view(whole_numbers)[...] = call.arrays[at_x].view(whole_numbers)
    else:
        call.convert(values, &scalars)
        positions[0], positions[1] = at_out, at_x
        call.run(positions, 2, 1, &scalars)
    if given is not None:
        wrote_all_but((given,), -1, 1)
    return out
