# cython: language_level=3
"""What each hyperparameter may be, and the check of a call's: compiled, for it is half of a small call's time."""

from libc.math cimport nextafter

cdef double BELOW_ONE = nextafter(1.0, 0.0)
cdef double ABOVE_ONE = nextafter(1.0, 2.0)
cdef double ABOVE_ZERO = 2.2250738585072014e-308
cdef double LARGEST = 1.7976931348623157e308

# Lowest, highest, and how the range is called. NaN and the infinities lie in none.
cdef tuple ANY = (-LARGEST, LARGEST, "a finite number")
cdef tuple NOT_NEGATIVE = (0.0, LARGEST, "a finite number, 0 or more")
cdef tuple FRACTION = (0.0, 1.0, "a number from 0 to 1")
cdef tuple FRACTION_BELOW_ONE = (0.0, BELOW_ONE, "a number from 0 to below 1")

RANGES = {
    "alpha": NOT_NEGATIVE,
    "beta": FRACTION_BELOW_ONE,
    "beta1": FRACTION_BELOW_ONE,
    "beta2": FRACTION_BELOW_ONE,
    "beta3": FRACTION_BELOW_ONE,
    "dampening": ANY,
    "decay": FRACTION,
    "eps": NOT_NEGATIVE,
    "eta_minus": (ABOVE_ZERO, BELOW_ONE, "a number between 0 and 1"),
    "eta_plus": (ABOVE_ONE, LARGEST, "a finite number above 1"),
    "grad_scale": ANY,
    "lambd": NOT_NEGATIVE,
    "lr": NOT_NEGATIVE,
    "lr_decay": NOT_NEGATIVE,
    "momentum": FRACTION,
    "momentum_decay": NOT_NEGATIVE,
    "mu_product": FRACTION_BELOW_ONE,
    "step_max": NOT_NEGATIVE,
    "step_min": NOT_NEGATIVE,
    "t0": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
}


cdef class Hyperparameters:
    """Checks the values of hyperparameters with these names, and returns them as floats (``step`` as an int)."""

    cdef tuple names
    cdef Py_ssize_t count
    cdef double lowest[16]
    cdef double highest[16]

    def __init__(self, *names):
        self.names = names
        self.count = len(names)
        for i, name in enumerate(names):
            if name != "step":
                self.lowest[i], self.highest[i], _ = RANGES[name]

    def __call__(self, *values):
        cdef Py_ssize_t i
        cdef double value
        checked = []
        for i in range(self.count):
            name = self.names[i]
            if name == "step":
                checked.append(whole_step(values[i]))
                continue
            try:
                value = values[i]
            except (TypeError, ValueError):
                raise TypeError(
                    f"{name} is {values[i]!r}, a {type(values[i]).__name__}; expected {RANGES[name][2]}"
                ) from None
            if not (self.lowest[i] <= value <= self.highest[i]):
                raise ValueError(f"{name} is {value}; expected {RANGES[name][2]}")
            checked.append(value)
        return checked


cdef object whole_step(step):
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise TypeError(f"step is {step!r}, a {type(step).__name__}; expected a whole number, 1 at the first update")
    if step < 1:
        raise ValueError(f"step is {step}; expected 1 or more: steps count from 1")
    return step.__index__()
