# cython: language_level=3, boundscheck=False, wraparound=False
"""A model's tensors, checked once and updated together, step after step: one call of the engine for all of them.

Of the arrays only the gradients may be others at each step; and where they stand as before, nothing of them but their
addresses is looked at.
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
    const int forks  # so many lie between the first process and this one; and 1
    void count_forks() noexcept

count_forks()

cdef extern from "Python.h":  # as borrowed references
    PyObject *PyList_GET_ITEM(list, Py_ssize_t)
    PyObject *PyTuple_GET_ITEM(tuple, Py_ssize_t)

cdef extern from "core/tuning.h" nogil:
    Py_ssize_t PINNED, HELD_BELOW


class Tensor(NamedTuple):
    """One tensor of a plan."""

    label: str  # what messages call it
    group: int  # whose hyperparameters it has
    arrays: tuple[Any, ...]  # of its rule in order, without grad: param, then state
    states: tuple[str, ...] = ()  # what its rule calls the state, if that should be checked, and named in messages
    average: Any = None  # follows param as an exponential average, if given
    copy: Any = None  # becomes param in another storage, if given


class Layerwise(NamedTuple):
    """How a rule's steps depend on a tensor as a whole."""

    #: From the group's number, and two norms, to the factor: of param and of its gradient, or of the direction.
    trust: Callable[[int, float, float], float]
    scalars: tuple[str, ...]  # the coefficients that are multiplied by it
    directed: bool  # the second norm is that of what the rule takes from param with a learning rate of 1


cdef Update AVERAGE = specs.AVERAGE.only


cdef class Plan:
    """Tensors to be updated together.

    Parameters
    ----------
    tensors : list of Tensor
        Their arrays are checked here, against each other, too.
    ngroups : int, optional
        How many groups there are, if each step should return their learning rates.
    average_decay : float, optional
        What averages keep of themselves in a step.
    seed : int, optional
        Given, what is bfloat16 of copies, or else of parameters, is rounded at random, by this seed.
    layerwise : Layerwise, optional
        How steps depend on whole tensors.
    backend : str, optional
        Who compiles the kernels; None: "cython".
    of_torch : bool
        The caller is `fastopt.torch`, which sees for itself that parameters stay where they are; and whose gradients that
        are int16 ndarrays hold bfloat16's bits.
    """

    cdef readonly ndarray steps  # int64: how many updates each tensor has had
    cdef readonly int64_t step_count  # steps made; those that were skipped do not count
    cdef Py_ssize_t count, narrays, nworks, ngroups
    cdef tensor_t *tensors
    cdef view_t *views
    cdef job_t *jobs
    cdef list_t todo  # of all jobs
    cdef work_t **works
    cdef work_t **newest  # of each group, the work with the most updates in this step
    cdef own_t *owns
    cdef measure_t *measures
    cdef sum_t *sums
    cdef array_t *looked  # all arrays
    cdef extent_t *extents  # of all arrays, by their first bytes
    cdef char **reaches  # how far the extents up to each reach
    cdef int64_t *counts
    cdef list labels, grad_names, states
    cdef list given  # the parameters that are NumPy's, as the caller has them, or None
    cdef list state_arrays, state_places  # the other arrays as the caller has them; the tensor and the slot of each
    cdef Py_ssize_t nwatched  # how many of them each step looks at: none or all
    cdef list arrays  # views of all arrays, one tensor's after another's
    cdef list pins  # of their memory: see pins.pyx
    cdef bint releases_gil  # all gradients are pinned, then
    cdef bint looked_away  # Python code may have run since gradients were looked at
    cdef tuple grads  # arrays over the gradients' memory, for as long as it is read
    cdef list grad_pins  # of each gradient's memory, as given last
    cdef list exports  # the pins that end with the step
    cdef list values  # of each work: the update and its coefficients
    cdef uint64_t seed
    cdef bint noisy, has_float64, of_torch
    cdef bint has_tensors  # PyTorch's, among the parameters
    cdef unsigned long thread  # the one that does what `running` says
    cdef int running  # `forks`, while a step is made, or state is read or written
    cdef str activity  # what is done meanwhile
    cdef bint changed  # which jobs run, or their plans, since units were counted: kept, for share_out may raise
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
        self.steps = numpy.zeros(len(tensors), numpy.int64)[:]  # a view: no one can resize it
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
        # A pin of a new gradient costs 35 ns (Xeon with AVX-512), as much as 200 array elements.
        self.releases_gil = of_torch or elements >= min(max(RELEASE_GIL_FROM, PINNED * self.count), HELD_BELOW)
        self.refuse_overlaps()
        if average_decay is not None:
            self.prepare_average(average_decay)

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            if self.tensors[i].views != NULL:  # else an earlier one was refused
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

    # ---- Once: the tensors

    cdef int take(self, tensor_t *tensor, given) except -1:
        """Check one tensor's arrays against each other, and keep views of them that no one else can change."""
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
            slot = i + (i > 0)  # grad's place, the second, stays free
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
        tensor.views[1].strides = <npy_intp *>zeros(tensor.ndim, sizeof(npy_intp))  # grad's, at each step
        tensor.noisy = self.noisy and tensor.views[tensor.copy].storage == BFLOAT16
        if tensor.noisy:
            number_places(tensor)
        return 0

    cdef int refuse_overlaps(self) except -1:
        """Raise if two arrays share an element; keep where they all stand, for the gradients to come."""
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
        """What messages call each array."""
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

    # ---- One thing at a time

    def alone(self, str activity):
        """Return a context in which nothing else is done with these tensors: a step in it is a RuntimeError, too."""
        return Alone(self, activity)

    cdef int begin(self, str activity) except -1:
        cdef unsigned long thread = PyThread_get_thread_ident()
        # A child of fork() inherits what another thread was at, which is over there; but not what its own thread is at.
        if self.running == forks or (self.running and self.thread == thread):
            raise RuntimeError(
                f"{activity} was called during {self.activity}, by another thread or by a function that {self.activity} "
                f"calls; expected one call of an optimizer at a time"
            )
        self.running, self.thread, self.activity = forks, thread, activity
        return 0

    # ---- Between steps

    def watch_state(self):
        """Let steps refuse arrays of the state that have become read-only: the caller has shown them to someone.

        For 2,000 tensors of 64 elements that takes 20 of 180 us (Sapphire Rapids): the arrays lie apart.
        """
        self.nwatched = len(self.state_arrays)

    @property
    def groups(self):
        """The group of each tensor, for which ``choose`` is asked."""
        return [self.tensors[i].group for i in range(self.count)]

    def regroup(self, list groups):
        """Give each tensor another group, in ``choose`` too: for those that have no scalars yet in the step.

        What is g, g + ngroups, g + 2 * ngroups and so on has a learning rate in common.
        """
        cdef Py_ssize_t i
        for i in range(self.count):
            self.tensors[i].group = groups[i]

    def restore(self, int64_t step_count, list arrays, list dicts, *, list groups=None, average_decay=None, seed=None):
        """Write a state that has been checked: no code of Python's, and so no signal's handler, runs in the middle of it.

        Parameters
        ----------
        step_count : int
            How many steps were made.
        arrays : list of pairs of ndarray
            What is written, and what it becomes: of the same shape and dtype.
        dicts : list of pairs of dict
            What is updated, and with what.
        groups : list of int, optional
            See `regroup`.
        average_decay, seed : optional
            See `Plan`; None leaves it as it is.
        """
        cdef Py_ssize_t i
        cdef tuple scalars = None if average_decay is None else AVERAGE.prepare((average_decay,))
        cdef uint64_t new_seed = self.seed if seed is None else seed
        cdef list before = [dict(written) for written, _ in dicts]  # what goes may have a finaliser: it goes at the end
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

    # ---- At every step

    def step(
        self, choose, given, grad_scale=1.0, max_norm=None, max_tensor_norm=None, bint skip_nonfinite=False,
        num_threads=None,
    ):
        """Update every tensor that has a gradient, or none if an error is raised or the step is skipped.

        Parameters
        ----------
        choose : function
            From a group's number, the step to make and grad_scale to an Update and its hyperparameters.
        given : sequence, or None
            A gradient for each tensor, or None where it stays as it is. None: those of the last step, which the caller has
            seen to stand where they stood; only if that went well.
        grad_scale : float
            What gradients are multiplied by.
        max_norm, max_tensor_norm : float, optional
            What the norm of all scaled gradients, or of each, is brought down to.
        skip_nonfinite : bool
            Skip the step if a gradient is not finite.

        Returns
        -------
        tuple of int, float or None, bool, and tuple of float or None
            How many steps were made; the norm of all scaled gradients, if something asks for it; whether the step was
            skipped; and the learning rate of each group.
        """
        cdef int wanted = threads_wanted(num_threads)
        cdef bint measured = max_norm is not None or max_tensor_norm is not None or skip_nonfinite
        cdef double norm = 0.0, scale
        cdef sum_t squares
        cdef Py_ssize_t i
        if max_tensor_norm is not None and self.layerwise is not None:
            raise ValueError(f"max_tensor_norm is {max_tensor_norm}; expected None: a layer-wise rule scales each tensor itself")
        self.begin("step")
        try:
            self.check_kept()
            scale = abs(float(grad_scale))
            self.grads = None if given is None else self.as_arrays(tuple(given))
            self.find_works(choose, grad_scale)
            # From here on, no Python code runs in a step that measures nothing: `looked_away` says otherwise.
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
                        f"leaves such steps out"
                    )
                if max_norm is not None and norm > max_norm:
                    self.clip(max_norm / norm)
                    scale *= max_norm / norm
            if max_tensor_norm is not None:
                self.clip_each(max_tensor_norm, scale)
            if self.layerwise is not None:
                self.trust_each(scale, wanted)
            self.run(wanted)
            # No code of Python's runs between the writing and the counting: Ctrl-C comes before both, or after.
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
        """Of each group, the learning rate of its tensors with the most updates; None where none is updated, or has one."""
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
        if self.ngroups == 1:  # 0.05 us sooner
            return (lr_of_work(self.newest[0]),)
        return tuple([lr_of_work(self.newest[i]) for i in range(self.ngroups)])

    # ---- The gradients

    cdef int check_kept(self) except -1:
        """Raise if a parameter, or an array of its state, has been changed meanwhile, as its owner can."""
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
                raise ValueError(f"{self.labels[i]} has been moved in memory; expected it where it was at first")
            if not cnp.PyArray_CHKFLAGS(<ndarray>found, NPY_ARRAY_WRITEABLE):
                self.refuse_read_only(self.labels[i])
        return 0

    cdef int refuse_read_only(self, str name) except -1:
        raise TypeError(f"{name} is read-only; expected an array that can be written in place")

    cdef int look_up(self, tuple grads) except -1:
        """Check the gradients and find where they stand."""
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
                    f"{self.grad_names[i]} has shape {(<object>grad).shape}; expected {shape_of(&self.looked[tensor.first])}"
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
        """Return arrays over the gradients' memory, or None: all of their own code (__dlpack__, say) runs here."""
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
        """Pin a gradient; mostly it still is, from the last step."""
        if self.of_torch or (
            owns_its_memory(<ndarray>grad) and is_pinned_by(grad, PyList_GET_ITEM(self.grad_pins, i))
        ):
            return 0
        if self.releases_gil or not owns_its_memory(<ndarray>grad):
            self.pin_other_grad(i, <object>grad)
        return 0

    cdef int pin_other_grad(self, Py_ssize_t i, grad) except -1:
        owner = owner_of(grad)
        if not cnp.PyArray_Check(owner):  # an export hinders its owner more than a weak reference: it ends with the step
            pin(self.exports, grad)
        elif not is_pinned_by(<PyObject *>owner, PyList_GET_ITEM(self.grad_pins, i)):
            self.grad_pins[i] = pin_of(grad)
        return 0

    cdef int expect_unchanged(self) except -1:
        """Raise if a gradient is no longer what was looked at; only where it was not pinned."""
        cdef Py_ssize_t i
        if self.releases_gil or self.grads is None or not self.looked_away:
            return 0
        for i in range(self.count):
            if self.tensors[i].active and not is_where(<ndarray>PyTuple_GET_ITEM(self.grads, i), &self.tensors[i]):
                refuse_changed(self.grad_names[i])
        return 0

    cdef int refuse_overlap(self, ndarray grad, Py_ssize_t i) except -1:
        """Raise if a gradient shares an element with an array that is written."""
        cdef array_t looked
        cdef extent_t extent
        cdef Py_ssize_t low = 0, high = self.narrays, middle
        if PyArray_IS_C_CONTIGUOUS(grad):  # as most are, and quickly so: there may be thousands
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
        view = view_of(grad, self.tensors[i].stored, self.grad_names[i])  # other code may run while NumPy compares
        point_at(&looked, view, self.tensors[i].stored)
        if may_share(&looked, &self.looked[written.position]):
            raise ValueError(
                f"{self.grad_names[i]} overlaps {self.names()[written.position]} in memory; expected arrays that share no "
                f"element"
            )
        if not is_unchanged(grad, &looked):
            refuse_changed(self.grad_names[i])
        return 0

    # ---- Who has which scalars

    cdef int find_works(self, choose, grad_scale) except -1:
        """Make the tasks: the kernel and the scalars of each group and number of updates."""
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
                tensor.planned = False  # its tiles have another size
                self.has_float64 |= tensor.is_float64
            if not 0 <= self.counts[i] < INT64_MAX:
                raise ValueError(f"steps of {self.labels[i]} is {self.counts[i]}; expected 0 or more, and a number to follow")
            if work < 0 or not shares(tensor, self.counts[i] + 1, self.works[work]):
                work = self.work_of(tensor, self.counts[i] + 1)
            if work == self.nworks:
                self.add_work(tensor, self.counts[i] + 1, choose, grad_scale)
            tensor.next_work = work
        return 0

    cdef int share_out(self) except -1:
        """Give each tensor its task."""
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
        """Find the scalars that a tensor shares with others; nworks: there are none yet."""
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
                f"the hyperparameters of {self.labels[tensor - self.tensors]} ask for the state {asked}; expected those that "
                f"the optimizer was made for, whose state is {made}"
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
        """What measures the direction: the rule with a learning rate of 1, param's decay left to the measurement."""
        lr = update.hyperparameters.index("lr")
        scalars = update.prepare((*hyperparameters[:lr], 1.0, *hyperparameters[lr + 1 :]))
        work.weight_decay = scalars[2]
        scalars = (*scalars[:2], 0.0, *scalars[3:])
        convert_scalars(update, scalars, work.is_float64, &work.direction_scalars, hyperparameters)
        fill_task(&work.direction, update, variant_of(scalars), work.is_float64)
        work.direction.scalars = &work.direction_scalars
        return 0

    # ---- Norms, and the scalars that follow from them

    cdef sum_t measure(self, measured what, int wanted) except *:
        """Sum up the squares of each tensor's gradient (or pair, or direction); return the sum of the first ones'."""
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
        """A tensor's norm, as measured last."""
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
        """Multiply each gradient whose norm is above the limit."""
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
                    f"finite gradients, or skip_nonfinite=True, which leaves such steps out"
                )
            trust = self.layerwise.trust(tensor.group, self.norm_of(i, 0), self.norm_of(i, 1) * (1.0 if directed else scale))
            self.own_scalars(i)
            for name in self.layerwise.scalars:
                k = update.scalars.index(name)
                # Beyond FLT_MAX where a float32 gradient is all but subnormal: what it multiplies is then as good as 0.
                value = scalars[k] * trust
                if tensor.is_float64:
                    self.owns[i].scalars.float64[k] = min(max(value, -DBL_MAX), DBL_MAX)
                else:
                    self.owns[i].scalars.float32[k] = <float>min(max(value, -<double>FLT_MAX), <double>FLT_MAX)
        return 0

    cdef int own_scalars(self, Py_ssize_t i) except -1:
        """Give a tensor scalars of its own: at first, those that it shares."""
        cdef work_t *work = self.works[self.tensors[i].work]
        if self.owns == NULL:
            self.owns = <own_t *>zeros(self.count, sizeof(own_t))
        self.owns[i].task, self.owns[i].scalars = work.task, work.scalars
        self.owns[i].task.scalars = &self.owns[i].scalars
        self.jobs[i].task = &self.owns[i].task
        self.tensors[i].own = True
        return 0

    # ---- Go

    cdef int run(self, int wanted) except -1:
        self.expect_unchanged()
        return run_list(&self.todo, wanted, self.releases_gil and self.todo.elements >= RELEASE_GIL_FROM)


cdef class Alone:
    """What `Plan.alone` returns: compiled, so that no interruption comes between its beginning and its end."""

    cdef Plan plan
    cdef str activity

    def __init__(self, Plan plan not None, str activity not None):
        self.plan, self.activity = plan, activity

    def __enter__(self):
        self.plan.begin(self.activity)

    def __exit__(self, *error):
        self.plan.running = 0


# ---- One tensor


cdef double learning_rate_of(Update update, tuple hyperparameters) except? -1.0:
    """Return the value of ``lr`` among the hyperparameters of an update, or NaN."""
    cdef Py_ssize_t i
    for i in range(len(hyperparameters)):
        if update.hyperparameters[i] == "lr":
            return hyperparameters[i]
    return NAN


cdef inline object lr_of_work(const work_t *work):
    return None if work == NULL or isnan(work.lr) else work.lr


cdef tuple names_of(given):
    """What messages call a tensor's arrays while they are checked."""
    known = given.states or [f"state {i}" for i in range(len(given.arrays) - 1)]
    states = [f"{name} of {given.label}" for name in known]
    extras = [f"{name} of {given.label}" for name in ("average", "copy") if getattr(given, name) is not None]
    return (given.label, *states, *extras)
