# cython: language_level=3, boundscheck=False, wraparound=False
"""One variant of an update, the choice among variants, and the conversion of coefficients to the compute type."""

from fastopt.backends import find_host_backend, load_kernel, load_table
from fastopt.codegen.parse import SHARED_SCALARS, source_of
from fastopt.coefficients.ranges import FLAG, RANGES
from fastopt.common.messages import brief
from fastopt.engine.core.hyperparameters import Hyperparameters, flag
from fastopt.specs.dtypes import COMPUTE_TYPES

from libc.float cimport DBL_MIN, FLT_MIN
from libc.math cimport fabs, isfinite, sqrt

from fastopt.engine.call cimport check_backend_type
from fastopt.engine.update.job cimport MAX_ARRAYS, MAX_SCALARS, codec_t, kernel_t


cdef class Update:
    """One variant of an update: rule, coefficients and reference, and the kernels, which are loaded on first use.

    Parameters
    ----------
    rule : function
        From ``fastopt/rules/update.py``.
    coefficients : function
            Function from the hyperparameters to ``grad_scale``, ``weight_decay``, ``decay``, then the rule's own coefficients.
    reference : function, optional
        The plain formula, called with the rule's arrays and the hyperparameters by name.
    ranges : dict, optional
        Ranges of hyperparameters that `RANGES` lacks or that differ here.
    scale : str
        Name of the hyperparameter that scales grad in the public function.
    """

    def __init__(
        self, rule, coefficients, reference=None, *, dict ranges=None, str scale="grad_scale", str backend="cython"
    ):
        code = rule.__code__
        names = code.co_varnames[: code.co_argcount]
        self.rule = rule
        self.coefficients = coefficients
        self.reference = reference
        self.scale = scale
        self.backend = backend
        self.arrays = names[: code.co_posonlyargcount]
        own_scalars = [name for name in names[code.co_posonlyargcount :] if name not in SHARED_SCALARS]
        self.scalars = (*SHARED_SCALARS, *own_scalars)
        self.hyperparameters = coefficients.__code__.co_varnames[: coefficients.__code__.co_argcount]
        self.check = Hyperparameters(*self.hyperparameters, ranges=ranges)
        self.siblings = {backend: self}
        self.grad = self.arrays.index("grad")
        if len(self.arrays) > MAX_ARRAYS or len(self.scalars) > MAX_SCALARS:
            raise ValueError(f"rule {rule.__name__} has more than {MAX_ARRAYS} arrays or {MAX_SCALARS} scalars")
        self.rounding.count = len(self.scalars)
        self.rounding.eps = self.scalars.index("eps") if "eps" in self.scalars else -1
        self.rounding.kept = sum(1 << i for i, name in enumerate(self.scalars) if name.startswith("eps"))

    def __repr__(self):
        return f"Update({self.rule.__name__}, backend={self.backend!r})"

    cpdef tuple prepare(self, tuple hyperparameters):
        """Validate the hyperparameters; return the coefficients."""
        return self.coefficients(*self.check(*hyperparameters))

    cdef Update on(self, backend):
        """Return the same update on another backend."""
        check_backend_type(backend)
        if backend not in self.siblings:
            find_host_backend(backend, self.arrays[0])
            self.siblings[backend] = Update(
                self.rule, self.coefficients, self.reference, ranges=self.check.ranges, scale=self.scale, backend=backend
            )
        return self.siblings[backend]

    cdef int load(self, bint is_float64, int variant) except -1:
        """Load one of the kernels, and the codecs of its compute type."""
        cdef size_t kernel, codecs
        dtype = COMPUTE_TYPES[is_float64]
        codecs = load_table("codecs", dtype)
        source = source_of(self.rule) if hasattr(self.rule, "rule_source") else None  # the rule was written by a user
        kernel = load_kernel(self.backend, "update", self.rule.__name__, dtype, variant, source)
        self.codecs[is_float64] = <const codec_t *>codecs
        self.kernels[is_float64][variant] = <kernel_t>kernel
        return 0


cdef class Variants:
    """The variants of one update, from which each call selects one.

    Parameters
    ----------
    updates : dict
        Variants by key: the names of their optional state, or whether the condition holds.
    condition : str or function, optional
        A flag among the hyperparameters, or a function of some of them.
    optional : tuple of (str, str)
            The state arrays that may be None, which come last, each with the hyperparameter of the optimizer that enables
            it.
    """

    def __init__(self, dict updates, condition=None, tuple optional=()):
        cdef Update first = next(iter(updates.values()))
        self.updates = updates
        self.only = first if len(updates) == 1 else None
        self.condition = condition
        self.optional = tuple([name for name, _ in optional])
        self.required = min([len(update.arrays) for update in updates.values()])
        self.hyperparameters = first.hyperparameters
        code = getattr(condition, "__code__", None)
        self.asked = () if condition is None else code.co_varnames[: code.co_argcount] if code else (condition,)
        self.positions = tuple([self.hyperparameters.index(name) for name in self.asked])
        self.flag = self.positions[0] if isinstance(condition, str) else -1
        self.checks = tuple(
            [Hyperparameters(option, ranges={option: RANGES.get(option, FLAG)}) for _, option in optional]
        )

        # Indexed by bits: bit i is set if the i-th optional array is given.
        self.by_given = [
            updates.get(tuple([name for i, name in enumerate(self.optional) if given >> i & 1]))
            for given in range(1 << len(self.optional))
        ]

    def update_for(self, dict values):
        """Return the variant for an optimizer's hyperparameters."""
        cdef Py_ssize_t i, given = 0
        if self.only is not None:
            return self.only
        if self.flag >= 0:
            return self.of_flag(values[self.condition])
        if self.condition is not None:
            return self.updates[self.condition(*[values[name] for name in self.asked])]
        for i, check in enumerate(self.checks):
            asked = values.get(check.names[0], False)
            given |= (1 if (asked if type(asked) is bool else check(asked)[0]) else 0) << i
        return self.by_given[given]

    cdef Update choose(self, tuple arrays, tuple hyperparameters):
        """Return the variant for the given arrays or hyperparameters."""
        cdef Py_ssize_t i, given = 0
        if self.only is not None:
            return self.only
        if self.flag >= 0:
            return self.of_flag(hyperparameters[self.flag])
        if self.condition is not None:
            return self.updates[self.condition(*[hyperparameters[i] for i in self.positions])]
        for i in range(self.required, len(arrays)):
            given |= (arrays[i] is not None) << (i - self.required)
        return self.by_given[given]

    cdef Update of_flag(self, value):
        """Return the variant for a value of the flag."""
        return self.updates[value if type(value) is bool else flag(self.condition, value)]


cdef int convert_scalars(
    Update update, tuple scalars, bint is_float64, scalars_t *converted, tuple hyperparameters
) except -1:
    """Round the coefficients to the compute type, or raise an error that names a hyperparameter (if these are given)."""
    cdef double given[32]
    cdef Py_ssize_t i, wrong
    if len(scalars) != len(update.scalars):
        raise ValueError(f"{len(scalars)} scalars given; expected {len(update.scalars)}: {', '.join(update.scalars)}")
    for i in range(len(scalars)):
        given[i] = scalars[i]
    wrong = round_scalars(&update.rounding, given, is_float64, converted)
    if wrong >= 0:
        refuse_scalar(update, wrong, given[wrong], is_float64, hyperparameters)
    return 0


cdef int refuse_scalar(Update update, Py_ssize_t i, double value, bint is_float64, tuple hyperparameters) except -1:
    dtype = "float64" if is_float64 else "float32"
    if i == 0 and isfinite(value) and abs(value) < 1.0:
        raise ValueError(f"{update.scale} is {value}, which underflows to 0 in {dtype}; expected a larger number, or 0")
    if hyperparameters is None:
        raise ValueError(f"{update.scalars[i]} is {value}; expected a number that is finite in {dtype}")
    name, given = origin_of(update, is_float64, hyperparameters)
    raise ValueError(
        f"{name} is {brief(given)}, which makes a coefficient infinite or NaN in {dtype}; expected a number closer to 0"
    )


cdef tuple origin_of(Update update, bint is_float64, tuple hyperparameters):
    """Return the hyperparameter (and its value) that makes a scalar non-finite, or else the largest hyperparameter."""
    cdef scalars_t converted
    cdef double others[32]
    cdef Py_ssize_t at, i
    cdef list numbers = []
    for at, given in enumerate(hyperparameters):
        try:
            numbers.append((abs(float(given)), at))
        except (TypeError, ValueError):
            continue
        for other in (0.5, 1.5):  # any range contains one of them
            try:
                scalars = update.prepare((*hyperparameters[:at], other, *hyperparameters[at + 1 :]))
            except (TypeError, ValueError):
                continue
            for i in range(len(scalars)):
                others[i] = scalars[i]
            if round_scalars(&update.rounding, others, is_float64, &converted) < 0:
                return update.hyperparameters[at], given
    at = max(numbers)[1]
    return update.hyperparameters[at], hyperparameters[at]


cdef Py_ssize_t round_scalars(
    const rounding_t *rounding, const double *scalars, bint is_float64, scalars_t *converted
) noexcept nogil:
    """Round the coefficients to the compute type; return the position of the first that is out of range, or -1.

    A subnormal number becomes 0, but an eps does not. An eps that is added to a root is raised to the root of the smallest
    normal number, the smallest root that can occur: otherwise it would not bound m / sqrt(v) if v underflows.
    """
    cdef Py_ssize_t i
    cdef double value, rounded, smallest = DBL_MIN if is_float64 else FLT_MIN
    for i in range(rounding.count):
        value = scalars[i]
        if i == rounding.eps:
            value = max(value, sqrt(smallest))
        elif value != 0.0 and fabs(value) < smallest:
            if i == 0:  # grad_scale: updates would have no effect
                return i
            value = smallest if rounding.kept >> i & 1 else 0.0
        if is_float64:
            rounded = converted.float64[i] = value
        else:
            rounded = converted.float32[i] = <float>value
        if not isfinite(rounded):
            return i
    return -1
