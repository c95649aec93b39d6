# cython: language_level=3, boundscheck=False, wraparound=False
"""A model's tensors, checked once and updated together in each step by one call of the engine.

Of the arrays, only the gradients may change from step to step. If a gradient's memory is the same as before, only its
address is compared.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from fastopt.backends import find_host_backend, load_table
from fastopt.specs import updates as specs
from fastopt.specs.dtypes import COMPUTE_TYPES

from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport NAN, isfinite, isnan
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
cimport numpy as cnp
from numpy cimport (
    NPY_ARRAY_WRITEABLE, NPY_SHORT, ndarray, npy_intp, PyArray_DATA, PyArray_DIMS, PyArray_IS_C_CONTIGUOUS, PyArray_NDIM,
)

from fastopt.engine.call cimport checked, leave_memory, take_memory
from fastopt.engine.core.exchange cimport is_tensor, wrote_all_but
from fastopt.engine.core.intake cimport (
    HOST, Intake, array_t, as_ndarray, as_view, check_memory, extent_of, extent_t, is_plain, is_unchanged, may_share, place,
    point_at, refuse_changed, shape_of, stand_between, view_of,
)
from fastopt.engine.update.job cimport (
    BFLOAT16, FLOAT64, MAX_ARRAYS, MAX_SLOTS, job_t, kernel_t, list_t, noise_t, number_units, storage, storage_size, summing_t,
    view_t,
)
from fastopt.engine.core.pins cimport is_pinned_by, owner_of, owns_its_memory, pin, pin_of
from fastopt.engine.update.run cimport run_list
from fastopt.engine.update.sum_squares cimport (
    DIRECTIONS, GRADIENTS, PAIRS, SQUARE_PART, add_sum, measure_t, measure_scratch_t, measure_units, measured, measures_t,
    root_of, sum_t,
)
from fastopt.engine.update.tensor cimport (
    LOOK_AHEAD, fetch, fetch_shape, has_shape, is_where, move_grad, number_places, own_t, plan, rescale, shares, stands,
    tensor_t, work_t, zeros,
)
from fastopt.engine.threads.threads cimport RELEASE_GIL_FROM, choose_threads, run_parallel, threads_wanted
from fastopt.engine.update.update cimport Update, convert_scalars, fill_task, variant_of, scalars_t

cnp.import_array()

cdef extern from *:
    """
    #include <pthread.h>
    static int forks = 1;
    static void count_fork(void) { forks++; }
    static void count_forks(void) { pthread_atfork(NULL, NULL, count_fork); }
    """
    const int forks  # 1 plus the number of forks between the first process and this one
    void count_forks() noexcept

count_forks()

cdef extern from "Python.h":  # return borrowed references
    PyObject *PyList_GET_ITEM(list, Py_ssize_t)
    PyObject *PyTuple_GET_ITEM(tuple, Py_ssize_t)

cdef extern from "core/tuning.h" nogil:
    Py_ssize_t PINNED, HELD_BELOW


class Tensor(NamedTuple):
    """One tensor of a plan."""

    label: str  # the name in messages
    group: int  # the index of the hyperparameters
    arrays: tuple[Any, ...]  # in the rule's order, without grad: param, then state
    states: tuple[str, ...] = ()  # names of the state; if given, the state is checked, and named in messages
    average: Any = None  # exponential average of param, if given
    copy: Any = None  # receives param in another storage type, if given


class Layerwise(NamedTuple):
    """The dependence of a rule's steps on norms of a tensor."""

    #: Function of the group's number and two norms (of param, and of its gradient or direction) that returns the factor.
    trust: Callable[[int, float, float], float]
    scalars: tuple[str, ...]  # the coefficients that are multiplied by the factor
    directed: bool  # the second norm is that of the step that the rule subtracts from param with a learning rate of 1


cdef Update AVERAGE = specs.AVERAGE.only


cdef class Plan:
    """Tensors to be updated together.

    Parameters
    ----------
    tensors : list of Tensor
        The constructor checks their arrays, also against each other.
    ngroups : int, optional
        The number of groups, if each step should return their learning rates.
    average_decay : float, optional
        Exponential decay rate of the averages.
    seed : int, optional
        If given, bfloat16 copies (or, without copies, parameters) are rounded stochastically, with this seed.
    layerwise : Layerwise, optional
        How steps depend on the tensors' norms.
    backend : str, optional
        The backend that compiles the kernels; None: "cython".
    of_torch : bool
        The caller is `fastopt.torch`, which verifies by itself that parameters are unchanged, and passes bfloat16 gradients
        as int16 ndarrays.
    """

    cdef readonly ndarray steps  # int64: the number of updates of each tensor
    cdef readonly int64_t step_count  # the number of steps, not counting skipped ones
    cdef Py_ssize_t count, narrays, nworks, ngroups
    cdef tensor_t *tensors
    cdef view_t *views
    cdef job_t *jobs
    cdef list_t todo  # all jobs
    cdef work_t **works
    cdef work_t **newest  # for each group, the work with the most updates in this step
    cdef own_t *owns
    cdef measure_t *measures
    cdef sum_t *sums
    cdef array_t *looked  # all arrays
    cdef extent_t *extents  # the byte ranges of all arrays, sorted by their first bytes
    cdef char **reaches  # for each extent, the largest end of it and all before it
    cdef int64_t *counts
    cdef list labels, grad_names, states
    cdef list given  # the parameters that are NumPy arrays, as the caller's objects; otherwise None
    cdef list state_arrays, state_places  # the other arrays as the caller's objects; the tensor and the slot of each
    cdef Py_ssize_t nwatched  # how many of them each step checks: none or all
    cdef list arrays  # views of all arrays, tensor by tensor
    cdef list pins  # pins of their memory: see pins.pyx
    cdef bint releases_gil  # if so, all gradients are pinned
    cdef bint looked_away  # Python code may have run since the gradients were checked
    cdef tuple grads  # arrays over the gradients' memory, while it is read
    cdef list grad_pins  # pins of each gradient's memory, as last given
    cdef list exports  # the pins that are released after the step
    cdef list values  # for each work: the update and its coefficients
    cdef uint64_t seed
    cdef bint noisy, has_float64, of_torch
    cdef bint has_tensors  # PyTorch tensors, among the parameters
    cdef unsigned long thread  # the thread of the activity
    cdef int running  # `forks` while a step is made, or state is read or written
    cdef str activity  # the name of the activity
    cdef bint changed  # jobs or plans have changed since units were counted; stored, because share_out may raise
    cdef kernel_t average_kernels[2]
    cdef const summing_t *summing[2]
    cdef scalars_t average_scalars[2]
    cdef object layerwise, backend

    def __init__(
        self, list tensors, *, Py_ssize_t ngroups=0, average_decay=None, seed=None, layerwise=None, backend=None,
        bint of_torch=False,
    ):
        cdef Py_ssize_t i, elements = 0
        self.labels = [tensor.label for tensor in tensors]
        self.states = [tensor.states for tensor in tensors]
        self.grad_names = [f"grad of {label}" for label in self.labels]
        self.given, self.arrays, self.values = [], [], []
        self.pins, self.grad_pins, self.exports = [], [None] * len(tensors), []
        self.state_arrays, self.state_places = [], []
        self.layerwise, self.backend = layerwise, backend
        self.of_torch = of_torch
        if backend == "reference":
            raise ValueError("backend is 'reference'; expected None, 'cython' or 'numba': the reference is for single updates")
        if backend is not None:
            find_host_backend(backend, "params")
        self.noisy = seed is not None
        self.seed = seed or 0
        self.steps = numpy.zeros(len(tensors), numpy.int64)[:]  # a view, which can't be resized
        pin(self.pins, self.steps)
        self.counts = <int64_t *>PyArray_DATA(self.steps)
        self.tensors = <tensor_t *>zeros(len(tensors), sizeof(tensor_t))
        self.views = <view_t *>zeros(len(tensors), MAX_SLOTS * sizeof(view_t))
        self.jobs = <job_t *>zeros(len(tensors), sizeof(job_t))
        self.works = <work_t **>zeros(len(tensors), sizeof(work_t *))
        self.ngroups = ngroups
        self.newest = <work_t **>zeros(self.ngroups, sizeof(work_t *))
        self.count = len(tensors)
        self.todo.jobs, self.todo.njobs = self.jobs, self.count
        for i in range(self.count):
            self.tensors[i].views = self.views + MAX_SLOTS * i
            self.tensors[i].work = -1
            self.take(&self.tensors[i], tensors[i])
            elements += self.tensors[i].count * self.tensors[i].slots
        # Pinning a new gradient costs 35 ns (Xeon with AVX-512), as much as 200 array elements.
        self.releases_gil = of_torch or elements >= min(max(RELEASE_GIL_FROM, PINNED * self.count), HELD_BELOW)
        self.refuse_overlaps()
        if average_decay is not None:
            self.prepare_average(average_decay)

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            if self.tensors[i].views != NULL:  # otherwise an earlier tensor was refused
                free(<void *>self.tensors[i].views[1].strides)
                if self.tensors[i].noisy:
                    free(<void *>self.tensors[i].views[self.tensors[i].slots].strides)
            free(self.jobs[i].layout)
            free(self.works[i])
        free(self.tensors)
        free(self.views)
        free(self.jobs)
        free(self.works)
        free(self.newest)
        free(self.owns)
        free(self.measures)
        free(self.sums)
        free(self.looked)
        free(self.extents)
        free(self.reaches)

    # ---- Construction

    cdef int take(self, tensor_t *tensor, given) except -1:
        """Check one tensor's arrays against each other, and store views that no other code can change."""
        cdef Intake intake = Intake.__new__(Intake)
        cdef array_t looked
        cdef ndarray array
        cdef int i, slot
        cdef tuple arrays = (*given.arrays, *(extra for extra in (given.average, given.copy) if extra is not None))
        if len(arrays) > MAX_ARRAYS or len(given.arrays) >= MAX_ARRAYS:
            raise ValueError(f"{given.label} has {len(arrays)} arrays; expected at most {MAX_ARRAYS}")
        intake.begin(names_of(given), -1, 1)
        intake.keeps_views = True
        intake.take(arrays)
        self.pins += intake.pins
        if intake.device != HOST:
            raise ValueError(f"{given.label} is {place(intake.device)}; expected it {place(HOST)}")
        tensor.group = given.group
        tensor.narrays = len(given.arrays) + 1
        tensor.slots = len(arrays) + 1
        tensor.average = tensor.narrays if given.average is not None else 0
        tensor.copy = tensor.slots - 1 if given.copy is not None else 0
        tensor.wide = tensor.is_float64 = intake.has_float64
        tensor.first = len(self.arrays)
        self.has_float64 |= intake.has_float64
        for i in range(len(arrays)):
            slot = i + (i > 0)  # the second slot is reserved for grad
            array = intake.array(0, i)
            point_at(&looked, array, intake.looked[i].stored)
            tensor.views[slot] = as_view(&looked)
            tensor.straight |= <unsigned>looked.straight << slot
            self.arrays.append(array)
            if slot != tensor.copy and isinstance(arrays[i], ndarray):
                self.state_arrays.append(arrays[i])
                self.state_places.append((len(self.given), slot))
        self.given.append(given.arrays[0] if given.copy is None else given.copy)
        self.has_tensors |= is_tensor(self.given[len(self.given) - 1])
        array = self.arrays[tensor.first]
        tensor.data = tensor.views[tensor.copy].data
        tensor.count, tensor.ndim, tensor.shape = cnp.PyArray_SIZE(array), PyArray_NDIM(array), PyArray_DIMS(array)
        tensor.views[1].strides = <npy_intp *>zeros(tensor.ndim, sizeof(npy_intp))  # of grad, at each step
        tensor.noisy = self.noisy and tensor.views[tensor.copy].storage == BFLOAT16
        if tensor.noisy:
            number_places(tensor)
        return 0

    cdef int refuse_overlaps(self) except -1:
        """Raise if two arrays share an element; store all byte ranges for checks of the gradients."""
        cdef Intake everything = Intake.__new__(Intake)
        cdef Py_ssize_t i, slot
        cdef tensor_t *tensor
        cdef char *reach = NULL
        self.narrays = len(self.arrays)
        self.looked = <array_t *>zeros(self.narrays, sizeof(array_t))
        for i in range(self.count):
            tensor = &self.tensors[i]
            for slot in range(tensor.slots - 1):
                array = <ndarray>self.arrays[tensor.first + slot]
                point_at(&self.looked[tensor.first + slot], array, tensor.views[slot + (slot > 0)].storage)
        self.extents = <extent_t *>zeros(self.narrays, sizeof(extent_t))
        self.reaches = <char **>zeros(self.narrays, sizeof(char *))
        everything.labels, everything.looked = self.names(), self.looked
        everything.narrays, everything.tensors = 1, self.narrays
        everything.sweep(self.extents, self.narrays)
        for i in range(self.narrays):
            if self.extents[i].end > reach:
                reach = self.extents[i].end
            self.reaches[i] = reach
        return 0

    cdef list names(self):
        """Return the name of each array in messages."""
        cdef Py_ssize_t i, slot
        names = []
        for i in range(self.count):
            for slot in range(self.tensors[i].slots):
                if slot != 1:
                    names.append(self.name(i, slot))
        return names

    cdef str name(self, Py_ssize_t i, Py_ssize_t slot):
        cdef tensor_t *tensor = &self.tensors[i]
        if slot == 0:
            return f"master of {self.labels[i]}" if tensor.copy else self.labels[i]
        if slot >= tensor.narrays:
            return f"{'copy' if slot == tensor.copy else 'average'} of {self.labels[i]}"
        return f"{self.states[i][slot - 2] if self.states[i] else f'state {slot - 2}'} of {self.labels[i]}"

    cdef int prepare_average(self, decay) except -1:
        cdef int is_float64
        for is_float64 in range(2):
            AVERAGE.load(is_float64, 0)
            self.average_kernels[is_float64] = AVERAGE.kernels[is_float64][0]
        return self.convert_average(AVERAGE.prepare((decay,)), decay)

    cdef int convert_average(self, tuple scalars, decay) except -1:
        cdef int is_float64
        for is_float64 in range(2):
            convert_scalars(AVERAGE, scalars, is_float64, &self.average_scalars[is_float64], (decay,))
        return 0

    # ---- Mutual exclusion

    def alone(self, str activity):
        """Return a context that excludes all other activities on these tensors; a step in it also raises RuntimeError."""
        return Alone(self, activity)

    cdef int begin(self, str activity) except -1:
        cdef unsigned long thread = PyThread_get_thread_ident()
        # After fork(), activities of the parent's other threads do not exist in the child, but those of its own thread do.
        if self.running == forks or (self.running and self.thread == thread):
            raise RuntimeError(
                f"{activity} was called during {self.activity}, by another thread or by a function that {self.activity} "
                f"calls; expected one call of an optimizer at a time"
            )
        self.running, self.thread, self.activity = forks, thread, activity
        return 0

    # ---- Between steps

    def watch_state(self):
        """Make steps check whether state arrays have become read-only: the caller has exposed them.

        For 2,000 tensors of 64 elements this takes 20 of 180 us (Sapphire Rapids)."""
        self.nwatched = len(self.state_arrays)

    @property
    def groups(self):
        """The group of each tensor, which is passed to ``choose``."""
        return [self.tensors[i].group for i in range(self.count)]

    def regroup(self, list groups):
        """Change the group of each tensor, also for ``choose``; in a step, only tensors without scalars may change groups.

        The groups g, g + ngroups, g + 2 * ngroups and so on share a learning rate.
        """
        cdef Py_ssize_t i
        for i in range(self.count):
            self.tensors[i].group = groups[i]

    def restore(self, int64_t step_count, list arrays, list dicts, *, list groups=None, average_decay=None, seed=None):
        """Write a state that has been checked. No Python code, and so no signal handler, runs in between.

        Parameters
        ----------
        step_count : int
            The number of steps.
        arrays : list of pairs of ndarray
            The destination and the new values, with the same shape and dtype.
        dicts : list of pairs of dict
            The dict to update, and the new items.
        groups : list of int, optional
            See `regroup`.
        average_decay, seed : optional
            See `Plan`; None leaves it unchanged.
        """
        cdef Py_ssize_t i
        cdef tuple scalars = None if average_decay is None else AVERAGE.prepare((average_decay,))
        cdef uint64_t new_seed = self.seed if seed is None else seed
        cdef list before = [dict(written) for written, _ in dicts]  # finalisers run at the end
        self.seed, self.step_count = new_seed, step_count
        if scalars is not None:
            self.convert_average(scalars, average_decay)
        for written, given in arrays:
            cnp.PyArray_CopyInto(<ndarray>written, <ndarray>given)
        for written, given in dicts:
            (<dict>written).update(<dict>given)
        if groups is not None:
            self.regroup(groups)
        before.clear()

    # ---- Steps

    def step(
        self, choose, given, grad_scale=1.0, max_norm=None, max_tensor_norm=None, bint skip_nonfinite=False,
        num_threads=None,
    ):
        """Update every tensor that has a gradient, or none if an error is raised or the step is skipped.

        Parameters
        ----------
        choose : function
            Function of a group's number, the number of the step and grad_scale that returns an Update and its hyperparameters.
        given : sequence, or None
            A gradient for each tensor, or None to leave the tensor unchanged. None: the gradients of the last step, which
            succeeded; the caller has verified that their memory is unchanged.
        grad_scale : float
            Factor on the gradients.
        max_norm, max_tensor_norm : float, optional
            Upper limits for the norm of all scaled gradients, and for the norm of each.
        skip_nonfinite : bool
            Skip the step if a gradient is not finite.

        Returns
        -------
        tuple of int, float or None, bool, and tuple of float or None
            The number of steps; the norm of all scaled gradients, if it was computed; whether the step was skipped; and the
            learning rate of each group.
        """
        cdef int wanted = threads_wanted(num_threads)
        cdef bint measured = max_norm is not None or max_tensor_norm is not None or skip_nonfinite
        cdef double norm = 0.0, scale
        cdef sum_t squares
        cdef Py_ssize_t i
        if max_tensor_norm is not None and self.layerwise is not None:
            raise ValueError(f"max_tensor_norm is {max_tensor_norm}; expected None for a layer-wise rule, which scales each tensor")
        self.begin("step")
        try:
            self.check_kept()
            scale = abs(float(grad_scale))
            self.grads = None if given is None else self.as_arrays(tuple(given))
            self.find_works(choose, grad_scale)
            # From here on, no Python code runs in a step that measures nothing; otherwise `looked_away` is set.
            self.looked_away = measured or self.layerwise is not None
            if self.grads is not None:
                self.look_up(self.grads)
            self.share_out()
            if measured:
                squares = self.measure(GRADIENTS, wanted)
                norm = root_of(&squares) * scale
                if not isfinite(squares.value):
                    if skip_nonfinite:
                        return self.step_count, norm, True, self.learning_rates()
                    raise ValueError(
                        f"the norm of the gradients is {norm}; expected finite gradients, or skip_nonfinite=True, which "
                        f"skips such steps"
                    )
                if max_norm is not None and norm > max_norm:
                    self.clip(max_norm / norm)
                    scale *= max_norm / norm
            if max_tensor_norm is not None:
                self.clip_each(max_tensor_norm, scale)
            if self.layerwise is not None:
                self.trust_each(scale, wanted)
            self.run(wanted)
            # No Python code runs between writing and counting, so a KeyboardInterrupt comes before or after both.
            for i in range(self.count):
                self.counts[i] += self.tensors[i].active
            self.step_count += 1
            if self.has_tensors and not self.of_torch:
                wrote_all_but(tuple([self.given[i] for i in range(self.count) if self.tensors[i].active]), -1, 1)
            return self.step_count, (norm if measured else None), False, self.learning_rates()
        finally:
            self.grads = None
            self.exports.clear()
            self.running = 0

    cdef tuple learning_rates(self):
        """For each group, return the learning rate of its tensors with the most updates; None if there is none."""
        cdef Py_ssize_t i
        cdef work_t *work
        cdef work_t **newest
        if not self.ngroups:
            return ()
        for i in range(self.ngroups):
            self.newest[i] = NULL
        for i in range(self.nworks):
            work = self.works[i]
            newest = &self.newest[work.group % self.ngroups]
            if newest[0] == NULL or newest[0].step < work.step:
                newest[0] = work
        if self.ngroups == 1:  # saves 0.05 us
            return (lr_of_work(self.newest[0]),)
        return tuple([lr_of_work(self.newest[i]) for i in range(self.ngroups)])

    # ---- Gradients

    cdef int check_kept(self) except -1:
        """Raise if a parameter, or an array of its state, has been changed by its owner."""
        cdef Py_ssize_t i
        cdef PyObject *given
        cdef PyObject *found
        cdef storage stored
        cdef int device
        if self.of_torch:
            return 0
        for i in range(self.nwatched):
            if not cnp.PyArray_CHKFLAGS(<ndarray>PyList_GET_ITEM(self.state_arrays, i), NPY_ARRAY_WRITEABLE):
                tensor, slot = self.state_places[i]
                self.refuse_read_only(self.name(tensor, slot))
        for i in range(self.count):
            given = PyList_GET_ITEM(self.given, i)
            if i + 2 * LOOK_AHEAD < self.count:
                fetch(PyList_GET_ITEM(self.given, i + 2 * LOOK_AHEAD))
                fetch_shape(PyList_GET_ITEM(self.given, i + LOOK_AHEAD))
            if cnp.PyArray_CheckExact(<object>given) and is_plain(<ndarray>given, &stored):
                found = given
            else:
                array = as_ndarray(<object>given, <str>PyList_GET_ITEM(self.labels, i), &stored, &device)
                found = <PyObject *>array
            if not stands(<ndarray>found, &self.tensors[i], stored):
                raise ValueError(f"{self.labels[i]} has been moved in memory; expected its original address and strides")
            if not cnp.PyArray_CHKFLAGS(<ndarray>found, NPY_ARRAY_WRITEABLE):
                self.refuse_read_only(self.labels[i])
        return 0

    cdef int refuse_read_only(self, str name) except -1:
        raise TypeError(f"{name} is read-only; expected an array that can be written in place")

    cdef int look_up(self, tuple grads) except -1:
        """Check the gradients and record their addresses."""
        cdef Py_ssize_t i
        cdef tensor_t *tensor
        cdef ndarray grad
        for i in range(self.count):
            tensor = &self.tensors[i]
            if not tensor.active:
                continue
            grad = <ndarray>PyTuple_GET_ITEM(grads, i)
            if cnp.PyArray_ITEMSIZE(grad) != storage_size(tensor.stored):
                refuse_changed(self.grad_names[i])
            if not has_shape(grad, tensor):
                raise ValueError(
                    f"{self.grad_names[i]} has shape {(<object>grad).shape}; expected "
                    f"{shape_of(&self.looked[tensor.first])}, the shape of {self.labels[i]}"
                )
            if (
                PyArray_DATA(grad) != tensor.grad or tensor.stored != tensor.grad_storage
                or not (tensor.straight & 2 and PyArray_IS_C_CONTIGUOUS(grad))
            ):
                check_memory(grad, self.grad_names[i], False)
                self.refuse_overlap(grad, i)
                move_grad(tensor, &self.jobs[i], grad)
        return 0

    cdef tuple as_arrays(self, tuple grads):
        """Return arrays over the gradients' memory, or None; all code of the gradients, such as __dlpack__, runs here."""
        cdef Py_ssize_t i
        cdef tensor_t *tensor
        cdef list held = None
        cdef PyObject *given
        cdef int device
        if len(grads) != self.count:
            raise ValueError(f"{len(grads)} gradients given; expected {self.count}, one for each parameter (None skips it)")
        for i in range(self.count):
            tensor = &self.tensors[i]
            given = PyTuple_GET_ITEM(grads, i)
            tensor.active = given != <PyObject *>None
            if not tensor.active:
                continue
            if i + LOOK_AHEAD < self.count:
                fetch(PyTuple_GET_ITEM(grads, i + LOOK_AHEAD))
            if cnp.PyArray_CheckExact(<object>given):
                fetch(PyArray_DIMS(<ndarray>given))
                self.pin_grad(i, given)
                if is_plain(<ndarray>given, &tensor.stored):
                    continue
                if self.of_torch and cnp.PyArray_TYPE(<ndarray>given) == NPY_SHORT:
                    tensor.stored = BFLOAT16
                    continue
            grad = as_ndarray(<object>given, <str>PyList_GET_ITEM(self.grad_names, i), &tensor.stored, &device)
            if device != HOST:
                raise ValueError(f"{self.grad_names[i]} is {place(device)}; expected it {place(HOST)}, as the parameter is")
            if <PyObject *>grad != given:
                self.pin_grad(i, <PyObject *>grad)
                if held is None:
                    held = list(grads)
                held[i] = grad
        return grads if held is None else tuple(held)

    cdef inline int pin_grad(self, Py_ssize_t i, PyObject *grad) except -1:
        """Pin a gradient, unless its pin from the last step is still valid."""
        if self.of_torch or (
            owns_its_memory(<ndarray>grad) and is_pinned_by(grad, PyList_GET_ITEM(self.grad_pins, i))
        ):
            return 0
        if self.releases_gil or not owns_its_memory(<ndarray>grad):
            self.pin_other_grad(i, <object>grad)
        return 0

    cdef int pin_other_grad(self, Py_ssize_t i, grad) except -1:
        owner = owner_of(grad)
        if not cnp.PyArray_Check(owner):  # an export, which restricts its owner: release it after the step
            pin(self.exports, grad)
        elif not is_pinned_by(<PyObject *>owner, PyList_GET_ITEM(self.grad_pins, i)):
            self.grad_pins[i] = pin_of(grad)
        return 0

    cdef int expect_unchanged(self) except -1:
        """Raise if a gradient that is not pinned has changed since it was checked."""
        cdef Py_ssize_t i
        if self.releases_gil or self.grads is None or not self.looked_away:
            return 0
        for i in range(self.count):
            if self.tensors[i].active and not is_where(<ndarray>PyTuple_GET_ITEM(self.grads, i), &self.tensors[i]):
                refuse_changed(self.grad_names[i])
        return 0

    cdef int refuse_overlap(self, ndarray grad, Py_ssize_t i) except -1:
        """Raise if a gradient shares an element with a written array."""
        cdef array_t looked
        cdef extent_t extent
        cdef Py_ssize_t low = 0, high = self.narrays, middle
        if PyArray_IS_C_CONTIGUOUS(grad):  # the common case, which must be fast: there may be thousands
            extent.first = extent.end = <char *>PyArray_DATA(grad)
            extent.itemsize = cnp.PyArray_ITEMSIZE(grad)
            extent.end += self.tensors[i].count * <Py_ssize_t>extent.itemsize
            extent.spacing = extent.itemsize if self.tensors[i].count > 1 else 0
        else:
            point_at(&looked, grad, self.tensors[i].stored)
            extent = extent_of(&looked, 0)
        while low < high:
            middle = (low + high) // 2
            if self.extents[middle].first < extent.end:
                low = middle + 1
            else:
                high = middle
        low -= 1
        while low >= 0 and self.reaches[low] > extent.first:
            if self.extents[low].end > extent.first:
                self.refuse_shared(&self.extents[low], &extent, grad, i)
            low -= 1
        return 0

    cdef int refuse_shared(self, extent_t *written, extent_t *extent, ndarray grad, Py_ssize_t i) except -1:
        cdef ndarray view
        cdef array_t looked
        if stand_between(written, extent) if written.first < extent.first else stand_between(extent, written):
            return 0
        self.looked_away = True
        view = view_of(grad, self.tensors[i].stored, self.grad_names[i])  # other code may run during NumPy's comparison
        point_at(&looked, view, self.tensors[i].stored)
        if may_share(&looked, &self.looked[written.position]):
            raise ValueError(
                f"{self.grad_names[i]} overlaps {self.names()[written.position]} in memory; expected arrays that share no "
                f"element"
            )
        if not is_unchanged(grad, &looked):
            refuse_changed(self.grad_names[i])
        return 0

    # ---- Scalars

    cdef int find_works(self, choose, grad_scale) except -1:
        """Create the tasks: the kernel and the scalars of each group and number of updates."""
        cdef Py_ssize_t i, work = -1
        cdef tensor_t *tensor
        self.nworks = 0
        del self.values[:]
        for i in range(self.count):
            tensor = &self.tensors[i]
            if not tensor.active:
                continue
            if tensor.is_float64 != (tensor.wide or tensor.stored == FLOAT64):
                tensor.is_float64 = not tensor.is_float64
                tensor.planned = False  # the size of its tiles changes
                self.has_float64 |= tensor.is_float64
            if not 0 <= self.counts[i] < INT64_MAX:
                raise ValueError(f"steps of {self.labels[i]} is {self.counts[i]}; expected 0 to 2**63 - 2")
            if work < 0 or not shares(tensor, self.counts[i] + 1, self.works[work]):
                work = self.work_of(tensor, self.counts[i] + 1)
            if work == self.nworks:
                self.add_work(tensor, self.counts[i] + 1, choose, grad_scale)
            tensor.next_work = work
        return 0

    cdef int share_out(self) except -1:
        """Assign each tensor its task."""
        cdef Py_ssize_t i
        cdef tensor_t *tensor
        for i in range(self.count):
            tensor = &self.tensors[i]
            if not tensor.active:
                self.changed |= tensor.work != -1
                tensor.work = -1
                continue
            if tensor.work == tensor.next_work and tensor.planned and not tensor.own:
                continue
            self.changed = True
            tensor.work, tensor.own = tensor.next_work, False
            if tensor.planned:
                self.jobs[i].task = &self.works[tensor.work].task
            else:
                plan(tensor, &self.jobs[i], &self.works[tensor.work].task)
                self.jobs[i].number = <uint32_t>i
        if self.changed:
            for i in range(self.count):
                self.jobs[i].units = self.tensors[i].units if self.tensors[i].active else 0
            number_units(&self.todo)
            self.changed = False
        return 0

    cdef Py_ssize_t work_of(self, tensor_t *tensor, int64_t step) noexcept:
        """Find the work that a tensor shares with others; nworks: it does not exist yet."""
        cdef Py_ssize_t i
        for i in range(self.nworks):
            if shares(tensor, step, self.works[i]):
                return i
        return self.nworks

    cdef int add_work(self, tensor_t *tensor, int64_t step, choose, grad_scale) except -1:
        cdef Update update
        cdef tuple hyperparameters, scalars
        cdef work_t *work = self.works[self.nworks]
        if work == NULL:
            work = self.works[self.nworks] = <work_t *>zeros(1, sizeof(work_t))
        update, hyperparameters = choose(tensor.group, step, grad_scale)
        if self.backend is not None:
            update = update.on(self.backend)
        states = self.states[tensor - self.tensors]
        if len(update.arrays) != tensor.narrays or (states and states != update.arrays[2:]):
            asked, made = [', '.join(names) or 'none' for names in (update.arrays[2:], states)]
            raise ValueError(
                f"the hyperparameters of {self.labels[tensor - self.tensors]} require the state {asked}; expected those of "
                f"the optimizer, whose state is {made}"
            )
        scalars = update.prepare(hyperparameters)
        work.group, work.step, work.is_float64, work.noisy = tensor.group, step, tensor.is_float64, tensor.noisy
        work.average, work.copy, work.grad_scale = tensor.average, tensor.copy, scalars[0]
        work.lr = learning_rate_of(update, hyperparameters) if self.ngroups else NAN
        convert_scalars(update, scalars, tensor.is_float64, &work.scalars, hyperparameters)
        fill_task(&work.task, update, variant_of(scalars), tensor.is_float64)
        work.task.scalars = &work.scalars
        work.task.slots, work.task.average, work.task.copy = tensor.slots, tensor.average, tensor.copy
        work.task.average_kernel = self.average_kernels[tensor.is_float64]
        work.task.average_scalars = &self.average_scalars[tensor.is_float64]
        work.noise = noise_t(self.seed, step)
        work.task.noise = &work.noise if tensor.noisy else NULL
        if self.layerwise is not None and self.layerwise.directed:
            self.add_direction(work, update, hyperparameters)
        self.values.append((update, scalars))
        self.nworks += 1
        return 0

    cdef int add_direction(self, work_t *work, Update update, tuple hyperparameters) except -1:
        """Create the task for the direction: the rule with a learning rate of 1; the measurement adds the decay of param."""
        lr = update.hyperparameters.index("lr")
        scalars = update.prepare((*hyperparameters[:lr], 1.0, *hyperparameters[lr + 1 :]))
        work.weight_decay = scalars[2]
        scalars = (*scalars[:2], 0.0, *scalars[3:])
        convert_scalars(update, scalars, work.is_float64, &work.direction_scalars, hyperparameters)
        fill_task(&work.direction, update, variant_of(scalars), work.is_float64)
        work.direction.scalars = &work.direction_scalars
        return 0

    # ---- Norms, and the scalars that depend on them

    cdef sum_t measure(self, measured what, int wanted) except *:
        """Sum the squares of each tensor's gradient (or pair, or direction); return the total of the first sums."""
        cdef Py_ssize_t i, unit, units = 0, n = 0, elements = 0
        cdef int threads
        cdef sum_t total
        cdef tensor_t *tensor
        cdef measure_t *one
        cdef work_t *work
        cdef measures_t todo
        self.allocate_sums()
        for i in range(self.count):
            tensor = &self.tensors[i]
            if not tensor.active or tensor.count == 0:
                continue
            one, work = &self.measures[n], self.works[tensor.work]
            one.task = &work.direction if what == DIRECTIONS else &work.task
            one.weight_decay = work.weight_decay
            one.views = &tensor.views[1] if what == GRADIENTS else tensor.views
            one.straight = tensor.straight >> 1 if what == GRADIENTS else tensor.straight
            one.ndim, one.shape = tensor.ndim, tensor.shape
            one.count, one.units, one.units_before = tensor.count, (tensor.count + SQUARE_PART - 1) // SQUARE_PART, units
            one.sums = self.sums + 2 * units
            units += one.units
            elements += tensor.count * (1 if what == GRADIENTS else tensor.narrays)
            n += 1
        todo.what, todo.measures, todo.count = what, self.measures, n
        todo.summing[0], todo.summing[1] = self.summing[0], self.summing[1]
        self.expect_unchanged()
        threads = choose_threads(elements, wanted)
        todo.scratch = <measure_scratch_t *>checked(take_memory(threads * sizeof(measure_scratch_t)))
        run_parallel(measure_units, &todo, units, 1, threads, self.releases_gil)
        leave_memory(todo.scratch)
        n = 0
        total = sum_t(0.0, 0)
        for i in range(self.count):
            tensor = &self.tensors[i]
            tensor.squares[0] = tensor.squares[1] = sum_t(0.0, 0)
            if not tensor.active or tensor.count == 0:
                continue
            one = &self.measures[n]
            for unit in range(one.units):
                add_sum(&tensor.squares[0], &one.sums[2 * unit])
                add_sum(&tensor.squares[1], &one.sums[2 * unit + 1])
            add_sum(&total, &tensor.squares[0])
            n += 1
        return total

    cdef int allocate_sums(self) except -1:
        cdef Py_ssize_t i, units = 0
        if self.measures != NULL:
            return 0
        for i in range(self.count):
            units += (self.tensors[i].count + SQUARE_PART - 1) // SQUARE_PART
        self.sums = <sum_t *>zeros(2 * units, sizeof(sum_t))
        cdef int is_float64
        for is_float64 in range(2):
            self.summing[is_float64] = <const summing_t *><size_t>load_table("summing", COMPUTE_TYPES[is_float64])
        self.measures = <measure_t *>zeros(self.count, sizeof(measure_t))
        return 0

    cdef double norm_of(self, Py_ssize_t i, int which):
        """Return a tensor's norm as last measured."""
        return root_of(&self.tensors[i].squares[which])

    cdef int clip(self, double factor) except -1:
        """Multiply all gradients by a factor below 1."""
        cdef Py_ssize_t i
        cdef work_t *work
        for i in range(self.nworks):
            work = self.works[i]
            rescale(&work.scalars, work.is_float64, work.grad_scale, factor)
            if self.layerwise is not None and self.layerwise.directed:
                rescale(&work.direction_scalars, work.is_float64, work.grad_scale, factor)
            work.grad_scale *= factor
        return 0

    cdef int clip_each(self, double limit, double scale) except -1:
        """Scale down each gradient with a norm above the limit."""
        cdef Py_ssize_t i
        cdef double norm
        cdef tensor_t *tensor
        for i in range(self.count):
            tensor = &self.tensors[i]
            norm = self.norm_of(i, 0) * scale
            if tensor.active and norm > limit:
                self.own_scalars(i)
                rescale(&self.owns[i].scalars, tensor.is_float64, self.works[tensor.work].grad_scale, limit / norm)
        return 0

    cdef int trust_each(self, double scale, int wanted) except -1:
        """Multiply the scalars of a layer-wise rule by each tensor's trust ratio."""
        cdef Py_ssize_t i, k
        cdef double value
        cdef tensor_t *tensor
        cdef bint directed = self.layerwise.directed
        self.measure(DIRECTIONS if directed else PAIRS, wanted)
        for i in range(self.count):
            tensor = &self.tensors[i]
            if not tensor.active or tensor.count == 0:
                continue
            update, scalars = self.values[tensor.work]
            if not isfinite(tensor.squares[0].value) or not isfinite(tensor.squares[1].value):
                raise ValueError(
                    f"{self.labels[i]} has a norm of {self.norm_of(i, 0)}, and its step one of {self.norm_of(i, 1)}; expected "
                    f"finite gradients, or skip_nonfinite=True, which skips such steps"
                )
            trust = self.layerwise.trust(tensor.group, self.norm_of(i, 0), self.norm_of(i, 1) * (1.0 if directed else scale))
            self.own_scalars(i)
            for name in self.layerwise.scalars:
                k = update.scalars.index(name)
                # It exceeds FLT_MAX if a float32 gradient is nearly subnormal; the product is then negligible.
                value = scalars[k] * trust
                if tensor.is_float64:
                    self.owns[i].scalars.float64[k] = min(max(value, -DBL_MAX), DBL_MAX)
                else:
                    self.owns[i].scalars.float32[k] = <float>min(max(value, -<double>FLT_MAX), <double>FLT_MAX)
        return 0

    cdef int own_scalars(self, Py_ssize_t i) except -1:
        """Copy the shared scalars of a tensor, so that it can have its own."""
        cdef work_t *work = self.works[self.tensors[i].work]
        if self.owns == NULL:
            self.owns = <own_t *>zeros(self.count, sizeof(own_t))
        self.owns[i].task, self.owns[i].scalars = work.task, work.scalars
        self.owns[i].task.scalars = &self.owns[i].scalars
        self.jobs[i].task = &self.owns[i].task
        self.tensors[i].own = True
        return 0

    # ---- Execution

    cdef int run(self, int wanted) except -1:
        self.expect_unchanged()
        return run_list(&self.todo, wanted, self.releases_gil and self.todo.elements >= RELEASE_GIL_FROM)


cdef class Alone:
    """The context that `Plan.alone` returns; compiled, so that no signal handler runs inside its methods."""

    cdef Plan plan
    cdef str activity

    def __init__(self, Plan plan not None, str activity not None):
        self.plan, self.activity = plan, activity

    def __enter__(self):
        self.plan.begin(self.activity)

    def __exit__(self, *error):
        self.plan.running = 0


# ---- Helpers for one tensor


cdef double learning_rate_of(Update update, tuple hyperparameters) except? -1.0:
    """Return the value of ``lr`` among an update's hyperparameters, or NaN if it has none."""
    cdef Py_ssize_t i
    for i in range(len(hyperparameters)):
        if update.hyperparameters[i] == "lr":
            return hyperparameters[i]
    return NAN


cdef inline object lr_of_work(const work_t *work):
    return None if work == NULL or isnan(work.lr) else work.lr


cdef tuple names_of(given):
    """Return the names of a tensor's arrays in messages of the intake."""
    known = given.states or [f"state {i}" for i in range(len(given.arrays) - 1)]
    states = [f"{name} of {given.label}" for name in known]
    extras = [f"{name} of {given.label}" for name in ("average", "copy") if getattr(given, name) is not None]
    return (given.label, *states, *extras)
