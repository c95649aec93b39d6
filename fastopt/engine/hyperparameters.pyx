# cython: language_level=3
"""The check of a call's hyperparameters: compiled, for it would be a third of a small call's time."""

from fastopt.ranges import RANGES


cdef class Hyperparameters:
    """Checks the values of hyperparameters with these names, and returns them as floats (``step`` as an int)."""

    cdef tuple names
    cdef Py_ssize_t count
    cdef Py_ssize_t step
    cdef double lowest[16]
    cdef double highest[16]

    def __init__(self, *names):
        self.names = names
        self.count = len(names)
        self.step = names.index("step") if "step" in names else -1
        for i, name in enumerate(names):
            if i != self.step:
                self.lowest[i], self.highest[i], _ = RANGES[name]

    def __call__(self, *values):
        cdef Py_ssize_t i
        cdef double value
        cdef list converted = None
        if len(values) != self.count:
            raise TypeError(f"{len(values)} values given; expected {self.count}: {', '.join(self.names)}")
        for i in range(self.count):
            given = values[i]
            if i == self.step:
                if type(given) is int and given >= 1:
                    continue
                number = whole_step(given)
            else:
                value = given if type(given) is float else real(self.names[i], given)
                if not (self.lowest[i] <= value <= self.highest[i]):
                    raise ValueError(f"{self.names[i]} is {value}; expected {RANGES[self.names[i]][2]}")
                if type(given) is float:
                    continue
                number = value
            if converted is None:
                converted = list(values)
            converted[i] = number
        return values if converted is None else converted


cdef double real(str name, given) except? -1.0:
    try:
        return given
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {given!r}, a {type(given).__name__}; expected {RANGES[name][2]}") from None


cdef object whole_step(step):
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise TypeError(f"step is {step!r}, a {type(step).__name__}; expected a whole number, 1 at the first update")
    if step < 1:
        raise ValueError(f"step is {step}; expected 1 or more: steps count from 1")
    return step.__index__()
