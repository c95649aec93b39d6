# cython: language_level=3
"""Validation of a call's hyperparameters. It is compiled: in Python it would take a third of a small call's time."""

import operator

import numpy

from fastopt.common.messages import brief
from fastopt.coefficients.ranges import FLAG, OTHER, RANGES

cdef object LAST_STEP = 2**63 - 1


cdef class Hyperparameters:
    """Validate values for these names; return floats (``step`` as an int, flags as bools, other values unchanged).

    ``ranges`` holds the ranges of names that RANGES lacks or that differ here.
    """

    cdef readonly tuple names
    cdef readonly dict ranges
    cdef Py_ssize_t count
    cdef Py_ssize_t step
    cdef double lowest[16]
    cdef double highest[16]
    cdef bint is_flag[16]
    cdef bint is_other[16]

    def __init__(self, *names, dict ranges=None):
        self.ranges = ranges = RANGES if ranges is None else {**RANGES, **ranges}
        self.names = names
        self.count = len(names)
        if self.count > 16:
            raise ValueError(f"{self.count} hyperparameters; expected at most 16")
        self.step = names.index("step") if "step" in names else -1
        for i, name in enumerate(names):
            if i != self.step:
                self.lowest[i], self.highest[i], _ = ranges[name]
            self.is_flag[i] = i != self.step and ranges[name] is FLAG
            self.is_other[i] = i != self.step and ranges[name] is OTHER

    def __call__(self, *values):
        cdef Py_ssize_t i
        cdef double value
        cdef list converted = None
        if len(values) != self.count:
            raise TypeError(f"{len(values)} values given; expected {self.count}: {', '.join(self.names)}")
        for i in range(self.count):
            given = values[i]
            if i == self.step:
                if type(given) is int and 1 <= given <= LAST_STEP:
                    continue
                number = whole("step", given, "a whole number, 1 or more: steps count from 1")
            elif self.is_flag[i]:
                if type(given) is bool:
                    continue
                number = flag(self.names[i], given)
            elif self.is_other[i]:
                continue
            else:
                value = given if type(given) is float else real(self.names[i], given, self.ranges)
                if not (self.lowest[i] <= value <= self.highest[i]):
                    raise ValueError(f"{self.names[i]} is {value}; expected {self.ranges[self.names[i]][2]}")
                if type(given) is float:
                    continue
                number = value
            if converted is None:
                converted = list(values)
            converted[i] = number
        return values if converted is None else tuple(converted)


cpdef double real(str name, given, dict ranges) except? -1.0:
    """Return a real scalar as a float; refuse complex numbers and strings of digits."""
    expected = ranges[name][2]
    refuse_device(name, given, expected)
    if getattr(getattr(given, "dtype", None), "kind", "f") in "cSUO":
        raise TypeError(f"{name} is {brief(given)}, a {type(given).__name__}; expected {expected}")
    try:
        return given
    except OverflowError as error:
        raise ValueError(f"{name} exceeds the range of float64; expected {expected}") from error
    except Exception as error:
        raise TypeError(f"{name} is {brief(given)}, a {type(given).__name__}; expected {expected}") from error


class NumberOnDevice(TypeError):
    """A number is on a CUDA device: reading it would wait for all pending work of the device."""


cdef int refuse_device(str name, given, str expected) except -1:
    if is_on_device(given):
        raise NumberOnDevice(f"{name} is a {type(given).__name__} on a CUDA device; expected it on the host: {expected}")
    return 0


def is_on_device(given):
    """Return whether a hyperparameter is an array on a CUDA device."""
    if type(given) is float or type(given) is int or given is None:
        return False
    on_device = getattr(given, "is_cuda", None)  # PyTorch tensors, whose other attributes may raise
    return hasattr(given, "__cuda_array_interface__") if on_device is None else bool(on_device)


def whole(str name, given, str expected, highest=2**63 - 1, lowest=1):
    """Return a whole number from ``lowest`` to ``highest`` as an int, or raise an error that names it."""
    refuse_device(name, given, expected)
    try:
        number = operator.index(given)
    except Exception as error:
        raise TypeError(f"{name} is {brief(given)}, a {type(given).__name__}; expected {expected}") from error
    if isinstance(given, (bool, numpy.bool_)) or getattr(getattr(given, "dtype", None), "kind", "i") not in "iu":
        raise TypeError(f"{name} is {brief(given)}, a {type(given).__name__}; expected {expected}")
    if number < lowest:
        raise ValueError(f"{name} is {brief(number)}; expected {expected}")
    if number > highest:
        limit = f"2**{highest.bit_length()} - 1" if highest & (highest + 1) == 0 and highest > 999 else str(highest)
        raise ValueError(f"{name} is {brief(number)}; expected {expected}{'' if limit in expected else f', at most {limit}'}")
    return number


def flag(str name, given):
    """Return True or False as a bool, or raise: the truth value of another object would be ambiguous."""
    if not isinstance(given, (bool, numpy.bool_)):
        raise TypeError(f"{name} is {brief(given)}, a {type(given).__name__}; expected True or False")
    return bool(given)
