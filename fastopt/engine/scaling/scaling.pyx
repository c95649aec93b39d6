# cython: language_level=3, boundscheck=False, wraparound=False
"""Runs feature scaling of arrays of samples by features: checks the arrays, then runs kernels on threads or on a device."""

import numpy

from fastopt.specs.scaling import SCALING_KERNELS as KERNELS
from fastopt.engine.core import devices
from fastopt.errors import BackendUnavailable

cimport cython
from numpy cimport ndarray

from fastopt.engine.call cimport NONE, Call, Kernels, checked, kernels_of, leave_memory, releases_gil, take_memory
from fastopt.engine.core.exchange cimport wrote_all_but
from fastopt.engine.core.intake cimport FLOAT32, FLOAT64, HOST, as_ndarray, new_like, place, shape_of, storage
from fastopt.engine.threads.threads cimport choose_threads, parallel_for, range_fn
from fastopt.engine.update.job cimport codec_t

cimport numpy as cnp

cnp.import_array()

cdef extern from "threads/parallel_for.h" nogil:
    ctypedef void (*parallel_for_fn)(range_fn, void *, Py_ssize_t, Py_ssize_t, int) noexcept

cdef extern from "scaling/scaling.h" nogil:
    int STATS_PER_COLUMN, SCALING_KERNELS
    ctypedef void (*scaling_kernel_t)(void **, const Py_ssize_t *) noexcept
    ctypedef struct matrix_t:
        char *data
        storage storage_of "storage"
        Py_ssize_t strides[2]
    ctypedef struct scaling_t:
        Py_ssize_t extents[2]
        matrix_t x, out
        storage compute
        const codec_t *codecs
        scaling_kernel_t kernels[4]
        parallel_for_fn parallel_for
        int threads
    ctypedef int (*scaling_fn)(const scaling_t *, void *, void **) noexcept
    size_t pass_bytes()
    bint all_finite(const scaling_t *, void *)
    int scale_matrix(const scaling_t *, void *, void **) noexcept
    int scale_and_probe_matrix(const scaling_t *, void *, void **) noexcept
    size_t column_stats_bytes(const scaling_t *)
    Py_ssize_t samples_per_part(Py_ssize_t)
    int compute_column_stats(const scaling_t *, void *, void **) noexcept
    void finish_column_stats(Py_ssize_t, const double *, double **)
    Py_ssize_t refining_step(Py_ssize_t)
    void move_centres(Py_ssize_t, const double *, const double *, double *)


cdef tuple KERNEL_NAMES = tuple([kernel.name for kernel in KERNELS])


@cython.final
@cython.no_gc
cdef class ScalingCall(Call):
    """One call: its checked arrays and its plan."""

    cdef scaling_t scaling
    cdef ndarray x, out
    cdef bint in_place
    cdef object given

    def __init__(self, x, out, bint in_place, features, backend, num_threads, stream, out_features=None):
        """Check all arguments. ``out`` may be None or have another number of features; ``in_place``: x is written."""
        cdef Py_ssize_t at_out
        self.in_place, self.given = in_place, x
        self.begin(backend, num_threads, stream)
        self.take(x, "x", in_place)
        at_out = self.take_optional(out, "out", True)
        self.hold(0, True)
        self.x = self.arrays[0]
        self.check_x(features)
        self.choose_backend()
        if at_out != NONE:
            self.out = self.arrays[at_out]
            self.check_out(at_out, out_features)
        if self.device == HOST and not self.is_reference:
            self.plan()

    cdef str dtype(self):
        """Return the compute type."""
        return "float64" if self.has_float64 or self.is_reference else "float32"

    cdef int expect_on_host(self) except -1:
        """Raise for a device array, which NumPy can't process."""
        if self.device != HOST:
            raise BackendUnavailable(f"x is {place(self.device)}; expected it in the host's memory, since whitening uses NumPy")
        return 0

    cdef int check_x(self, features) except -1:
        self.check(0)
        if cnp.PyArray_NDIM(self.x) != 2:
            raise ValueError(f"x has shape {shape_of(&self.looked[0])}; expected two axes: samples, features")
        if features is not None and cnp.PyArray_DIM(self.x, 1) != features:
            raise ValueError(f"x has {cnp.PyArray_DIM(self.x, 1)} features; expected {features}, as many as were fitted")
        return 0

    cdef int check_out(self, Py_ssize_t at_out, features) except -1:
        cdef tuple shape = shape_of(&self.looked[0])
        self.check(at_out)
        if features is not None:
            shape = (shape[0], features)
        if shape_of(&self.looked[at_out]) != shape:
            raise ValueError(f"out has shape {shape_of(&self.looked[at_out])}; expected {shape}")
        if self.is_in_place(0, at_out):
            self.x, self.out = self.out, None  # ``x`` becomes the array that may be written
            self.in_place = True
            return 0
        return self.refuse_overlaps()

    cdef int plan(self) except -1:
        cdef Kernels kernels = kernels_of("scaling", KERNEL_NAMES, self.backend, self.dtype())
        cdef int i
        cdef Py_ssize_t elements = cnp.PyArray_SIZE(self.x)
        self.scaling.extents[0] = cnp.PyArray_DIM(self.x, 0)
        self.scaling.extents[1] = cnp.PyArray_DIM(self.x, 1)
        self.scaling.x = matrix_of(self.x, self.stored[0])
        self.scaling.out.data = NULL
        if self.out is not None:
            self.scaling.out = matrix_of(self.out, self.stored[1])
            elements *= 2
        self.scaling.compute = FLOAT64 if self.has_float64 else FLOAT32
        self.scaling.codecs = kernels.codecs
        for i in range(SCALING_KERNELS):
            self.scaling.kernels[i] = <scaling_kernel_t>kernels.load(i, 0)
        self.scaling.parallel_for = parallel_for
        self.scaling.threads = choose_threads(elements, self.wanted)
        return 0

    cdef Py_ssize_t samples(self) except -1:
        """Return the number of samples; raise if it is 0."""
        cdef Py_ssize_t samples = cnp.PyArray_DIM(self.x, 0)
        if samples == 0:
            raise ValueError(f"x has shape {shape_of(&self.looked[0])}; expected at least one sample")
        return samples

    cdef int refuse_other_than_finite(self) except -1:
        """Raise an error that names the feature unless all values of x are finite."""
        # For devices and the reference, the search for the position is the test.
        if self.device != HOST or self.is_reference or not self.are_finite():
            self.refuse_first()
        return 0

    cdef bint are_finite(self) except -1:
        """Return whether the kernels find all x finite."""
        cdef bint good
        cdef void *scratch = checked(take_memory(pass_bytes()))
        if releases_gil(cnp.PyArray_SIZE(self.x), True):
            with nogil:
                good = all_finite(&self.scaling, scratch)
        else:
            good = all_finite(&self.scaling, scratch)
        leave_memory(scratch)
        return good

    cdef int refuse_first(self) except -1:
        """Raise for the first value of x that is not finite, and name its position."""
        if self.device == HOST:
            found = self.first_on_host()
        else:
            first_not_finite = devices.dispatch("scaling").first_not_finite
            found = first_not_finite(self.given, self.view(0), self.dtype(), self.device, self.stream)
        if found is not None:
            sample, feature, value = found
            raise refusal(value, feature, sample)
        return 0

    cdef object first_on_host(self):
        """Return its sample, feature and value, or None; the rows are searched in blocks that fit in the cache."""
        cdef Py_ssize_t row, rows = max(1, 65536 // max(1, cnp.PyArray_DIM(self.x, 1)))
        for row in range(0, cnp.PyArray_DIM(self.x, 0), rows):
            some = as_float(self.x[row : row + rows])
            found = numpy.argwhere(~numpy.isfinite(some))
            if len(found):
                sample, feature = found[0].tolist()
                return row + sample, feature, some[sample, feature]
        return None

    cdef int scale_by_reference(self, list scales, str written) except -1:
        cdef ndarray target = self.x if self.out is None else self.out
        from fastopt.reference import scaling as scaling_reference

        refuse_bits(target, written)
        with numpy.errstate(all="ignore"):  # like the kernels, do not warn of NaN and infinity
            target[...] = scaling_reference.scale(as_float(self.x), *scales).astype(target.dtype)
        return 0

    cdef object scale_on_device(self, out, list scales):
        """Return the written array: x, out, or a new array if out is None."""
        view = self.view(0)
        target = view if self.in_place else None if self.out is None else self.view(1)
        return devices.dispatch("scaling").scale(self.given, view, out, target, self.dtype(), scales, self.device, self.stream)

    cdef int scale(self, list scales, bint probing) except -1:
        """Scale x; return 0 if ``probing`` is true and some x is not finite, else 1."""
        return self.run(scale_and_probe_matrix if probing else scale_matrix, pass_bytes(), scales)

    cdef int run(self, scaling_fn function, size_t bytes, list vectors) except -1:
        """Run a function of scaling.h with this many bytes of scratch memory, and return its result."""
        cdef void *pointers[5]
        cdef void *scratch = checked(take_memory(bytes))
        cdef Py_ssize_t i
        cdef int good
        for i in range(len(vectors)):
            pointers[i] = cnp.PyArray_DATA(<ndarray>vectors[i])
        if releases_gil(cnp.PyArray_SIZE(self.x), True):
            with nogil:
                good = function(&self.scaling, scratch, pointers)
        else:
            good = function(&self.scaling, scratch, pointers)
        leave_memory(scratch)
        return good

    cdef tuple column_stats(self):
        if self.device != HOST:
            return self.stats_on_device()
        if self.is_reference:
            from fastopt.reference import scaling as scaling_reference

            return scaling_reference.column_stats(as_float(self.x))
        vectors = [numpy.empty(self.scaling.extents[1]) for _ in range(STATS_PER_COLUMN)]
        self.run(compute_column_stats, column_stats_bytes(&self.scaling), vectors)
        return tuple(vectors)

    cdef tuple stats_on_device(self):
        cdef double *pointers[5]
        cdef int i
        cdef ndarray centre
        view = self.view(0)
        samples = cnp.PyArray_DIM(self.x, 0)
        part, step = samples_per_part(samples), refining_step(samples)
        centre, sums = devices.dispatch("scaling").column_stats(self.given, view, self.dtype(), part, step, self.device, self.stream)
        for i in range(STATS_PER_COLUMN):
            pointers[i] = <double *>cnp.PyArray_DATA(<ndarray>sums[i])
        finish_column_stats(cnp.PyArray_DIM(self.x, 1), <const double *>cnp.PyArray_DATA(centre), pointers)
        return tuple(sums)


def refined_centres(ndarray count, ndarray total, ndarray centre):
    """Return the centres moved by the mean of the deviations from them; all arguments are float64 vectors."""
    move_centres(
        cnp.PyArray_SIZE(centre), <const double *>cnp.PyArray_DATA(count), <const double *>cnp.PyArray_DATA(total),
        <double *>cnp.PyArray_DATA(centre),
    )
    return centre


def refusal(value, feature, sample=None):
    """Return the error for a value of x that is not finite."""
    what = "a NaN" if numpy.isnan(value) else "an infinity"
    where = "" if sample is None else f", sample {sample}"
    hint = ", or nan='ignore'" if numpy.isnan(value) else ""
    return ValueError(f"x has {what} in feature {feature}{where}; expected finite numbers{hint}")


def as_float(array):
    """Return a float64 copy, also of bfloat16 from DLPack, which is shown as uint16."""
    with numpy.errstate(invalid="ignore"):  # a signalling NaN becomes quiet
        if array.dtype.kind == "u":
            return (array.astype(numpy.uint32) << 16).view(numpy.float32).astype(numpy.float64)
        return array.astype(numpy.float64)


cdef matrix_t matrix_of(ndarray array, storage stored):
    cdef matrix_t matrix
    matrix.data = <char *>cnp.PyArray_DATA(array)
    matrix.storage_of = stored
    matrix.strides[0] = cnp.PyArray_STRIDE(array, 0)
    matrix.strides[1] = cnp.PyArray_STRIDE(array, 1)
    return matrix


def column_stats(x, features, bint refuse, backend, num_threads, stream):
    """Return for each feature of x: count, mean, sum of squared deviations, minimum and maximum, without NaN.

    Raises for an infinity and, if ``refuse`` is true, for a NaN. ``features`` is the expected number, or None.
    """
    cdef ScalingCall call = ScalingCall(x, None, False, features, backend, num_threads, stream)
    cdef Py_ssize_t samples = call.samples()
    stats = call.column_stats()
    count, _, _, lowest, highest = stats
    infinite = numpy.isinf(lowest) & (count > 0) | numpy.isinf(highest) & (count > 0)
    if infinite.any() or (refuse and (count < samples).any()):
        if refuse:
            call.refuse_first()
        raise refusal(numpy.inf, int(infinite.argmax()))
    return stats


def is_finite(x, num_threads):
    """Return whether all of x is finite: an array of the host's memory, checked as by `column_stats`."""
    cdef ScalingCall call = ScalingCall(x, None, False, None, None, num_threads, None)
    call.expect_on_host()
    return call.are_finite()


def scaled_and_finite(x, features, scales_of, num_threads):
    """Return x scaled, in a new array, and whether all of x is finite: x, an array of the host's, is read once."""
    cdef storage stored
    cdef int device
    out = new_like(as_ndarray(x, "x", &stored, &device), stored, "out")
    cdef ScalingCall call = ScalingCall(x, out, False, features, None, num_threads, None)
    call.expect_on_host()
    return out, bool(call.scale(checked_scales(call, features, scales_of), True))


cdef list checked_scales(ScalingCall call, features, scales_of):
    """The rule's arguments in the compute type, one of each for every feature."""
    real = numpy.dtype(call.dtype()).type
    scales = [numpy.ascontiguousarray(scale, real) for scale in scales_of(real)]
    if any(scale.shape != (features,) for scale in scales):
        raise RuntimeError(f"the scaler was fitted anew during the call, no longer to {features} features; expected it unchanged")
    return scales


def scale(x, out, bint in_place, features, scales_of, bint refuse, backend, num_threads, stream):
    """Scale x, in place or into ``out``, with the result of ``scales_of`` for the compute type; return the written array.

    Raises, if ``refuse`` is true, unless all values of x are finite.
    """
    cdef ScalingCall call
    cdef storage stored
    cdef int device
    if not in_place and out is None:
        array = as_ndarray(x, "x", &stored, &device)
        if device == HOST:
            out = new_like(array, stored, "out")
    call = ScalingCall(x, out, in_place, features, backend, num_threads, stream)
    scales = checked_scales(call, features, scales_of)
    if refuse:
        call.refuse_other_than_finite()
    written = x if in_place else out
    if call.device != HOST:
        written = call.scale_on_device(written, scales)
    elif call.is_reference:
        call.scale_by_reference(scales, "x" if in_place else "out")
    else:
        call.scale(scales, False)
    wrote_all_but((written,), -1, 1)
    return written


def readable(x, features, num_threads, stream):
    """Return x as a finite ndarray in host memory, checked as by `column_stats`, and its pins."""
    cdef ScalingCall call = ScalingCall(x, None, False, features, None, num_threads, stream)
    call.expect_on_host()
    call.samples()
    call.refuse_other_than_finite()
    return call.x, call.pins


def matrices(x, out, bint in_place, features, out_features, num_threads, stream):
    """Return x and out as ndarrays, checked as by `scale`, with x finite; the caller's object that is written; the pins.

    ``out`` may have another number of features than x.
    """
    cdef ScalingCall call = ScalingCall(x, out, in_place, features, None, num_threads, stream, out_features)
    call.expect_on_host()
    if in_place:
        refuse_bits(call.x, "x")
        target, out = call.x, x
    elif out is None:
        refuse_bits(call.x, "x")
        target = out = numpy.empty((call.scaling.extents[0], out_features), call.x.dtype)
    else:
        target = call.x if call.out is None else call.out
        refuse_bits(target, "out")
    call.refuse_other_than_finite()
    wrote_all_but((out,), -1, 1)
    return call.x, target, out, call.pins


cdef int refuse_bits(ndarray array, str name) except -1:
    """Raise for a bfloat16 array from DLPack, in which NumPy can't store numbers."""
    if array.dtype.kind == "u":
        raise TypeError(f"{name} is a bfloat16 array from DLPack; expected an array of another dtype")
    return 0
