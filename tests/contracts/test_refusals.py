"""Invalid arrays: an error names the array and the expected value, and no byte changes."""

from __future__ import annotations

import array
import itertools
import re

import numpy as np
import pytest

import fastopt
from tests.contracts.families import CALLS, Call
from tests.support import Arrays

SHAPE = (6, 20)

checked = pytest.mark.parametrize(
    "call", [call for call in CALLS if call.floating and call.family != "optim"], ids=lambda call: call.name
)


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def misaligned(values):
    memory = np.frombuffer(bytearray(values.nbytes + 1), "u1")[1:].view(values.dtype).reshape(values.shape)
    memory[...] = values
    return memory


def overlapping_itself(values):
    return np.lib.stride_tricks.as_strided(values, strides=(0,) * values.ndim)


BAD_ARRAYS = {
    "None": (lambda x: None, (TypeError, ValueError), "is None; expected"),
    "a list": (lambda x: x.tolist(), TypeError, "is a list; expected an array"),
    "a float": (lambda x: 1.0, TypeError, "is a float; expected an array"),
    "a string": (lambda x: "abc", TypeError, "is a str; expected an array"),
    "an object": (lambda x: object(), TypeError, "is a object; expected an array"),
    "int64": (lambda x: x.astype("i8"), TypeError, "has dtype int64; expected float16, bfloat16"),
    "int32, as wide as float32": (lambda x: x.view("i4"), TypeError, "has dtype int32; expected"),
    "bool": (lambda x: x > 0, TypeError, "has dtype bool; expected"),
    "complex64": (lambda x: x.astype("c8"), TypeError, "has dtype complex64; expected"),
    "long double": (lambda x: x.astype("g"), TypeError, "has dtype (longdouble|float128); expected"),
    "objects": (lambda x: x.astype(object), TypeError, "has dtype object; expected"),
    "records": (lambda x: x.view([("a", "f4")]), TypeError, r"has dtype \[\('a', '<f4'\)\]; expected"),
    "foreign byte order": (lambda x: x.astype(">f4"), TypeError, "has dtype >f4, of foreign byte order"),
    "a masked array": (np.ma.masked_array, TypeError, "is a masked array"),
    "integers in a buffer": (lambda x: array.array("i", [1] * x.size), TypeError, "has dtype int32; expected"),
    "misaligned": (misaligned, ValueError, "is misaligned"),
}
BAD_TARGETS = {
    "read-only": (read_only, TypeError, "is read-only"),
    "bytes": (lambda x: memoryview(x.tobytes()).cast("f", x.shape), TypeError, "is read-only"),
    "overlapping itself": (overlapping_itself, ValueError, "overlaps itself"),
}
WRONG_SHAPES = [
    lambda x: x[:-1],
    lambda x: x[..., None],
    lambda x: x[None],
    lambda x: x.reshape(-1)[:1],
    lambda x: np.zeros((), "f4"),
]


def assert_refused(call: Call, arrays: Arrays, error, message: str, **options) -> None:
    """Assert that the call raises this, and that it changed nothing."""
    plain = {
        name: x for name, x in arrays.items() if isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray)
    }
    before = {name: x.tobytes() for name, x in plain.items()}
    with pytest.raises(error, match=message):
        call.run(arrays, **options)
    for name, kept in before.items():
        assert plain[name].tobytes() == kept, f"{name} changed"


def shown(call: Call, name: str) -> str:
    return call.shown.get(name, name)


@checked
def test_the_calls_that_are_spoilt_below_succeed(call):
    arrays = call.make(SHAPE, "f4")
    before = {name: x.copy() for name, x in arrays.items()}
    made = call.run(arrays)
    for name in arrays:
        assert (name in call.written) == (name in made)
        if name not in call.written:
            np.testing.assert_array_equal(arrays[name], before[name])


@checked
def test_bad_arrays(call):
    every_backend = call.name in ("adam", "batch forward", "normal_")
    for name, bad in itertools.product(call.make(SHAPE, "f4"), BAD_ARRAYS):
        make, error, message = BAD_ARRAYS[bad]
        if bad == "None" and name in call.optional:
            continue
        for options in [{}, {"backend": "numba"}, {"backend": "reference"}] if every_backend else [{}]:
            arrays = call.make(SHAPE, "f4")
            with np.errstate(invalid="ignore"):  # NaN as an integer
                arrays[name] = make(arrays[name])
            assert_refused(call, arrays, error, f"^{shown(call, name)} {message}", **options)


@checked
def test_bad_targets(call):
    for name, bad in itertools.product(call.make(SHAPE, "f4"), BAD_TARGETS):
        if name not in call.written:
            continue
        make, error, message = BAD_TARGETS[bad]
        arrays = call.make(SHAPE, "f4")
        arrays[name] = make(arrays[name])
        assert_refused(call, arrays, error, f"^{shown(call, name)} {message}")


@checked
def test_wrong_shapes(call):
    """Of each array but the first, which the others are compared with."""
    for name, x in list(call.make(SHAPE, "f4").items())[1:]:
        for change in WRONG_SHAPES:
            arrays = call.make(SHAPE, "f4")
            arrays[name] = wrong = change(x)
            got, expected = (re.escape(str(shape)) for shape in (wrong.shape, x.shape))
            assert_refused(call, arrays, ValueError, f"^{shown(call, name)} has shape {got}; expected {expected}")


@checked
def test_arrays_that_share_memory_with_what_is_written(call):
    """Every pair that a call would write one of, the same memory or one element further."""
    for first, second in itertools.combinations(call.make(SHAPE, "f4"), 2):
        if not {first, second} & set(call.written):
            continue
        for shift in (0, 1) if {first, second} not in call.in_place else (1,):
            arrays = call.make(SHAPE, "f4")
            a, b = arrays[first], arrays[second]
            memory = np.ones(max(a.size, b.size) + 1, "f4")
            arrays[first], arrays[second] = memory[: a.size].reshape(a.shape), memory[shift:][: b.size].reshape(b.shape)
            x, y = shown(call, first), shown(call, second)
            assert_refused(call, arrays, ValueError, rf"^({x} overlaps {y}|{y} overlaps {x}) in memory")


@checked
def test_what_is_only_read_may_be_read_only(call):
    arrays = call.make(SHAPE, "f4")
    wanted = call.run({name: x.copy() for name, x in arrays.items()})
    given = {name: x.copy() if name in call.written else read_only(x) for name, x in arrays.items()}
    for name, made in call.run(given).items():
        np.testing.assert_array_equal(made, wanted[name])


class OnADevice:
    """What a CUDA array shows of itself."""

    __cuda_array_interface__ = {"shape": SHAPE, "typestr": "<f4", "data": (4096, False), "version": 3}  # noqa: RUF012


@checked
def test_arrays_on_a_device_without_a_driver(call):
    """Or in the host's memory, where the others are on a device."""
    assert issubclass(fastopt.BackendUnavailable, ImportError)
    for name in call.make(SHAPE, "f4"):
        arrays = call.make(SHAPE, "f4")
        arrays[name] = OnADevice()
        assert_refused(call, arrays, (fastopt.BackendUnavailable, ValueError), "backend 'cuda' needs|CUDA device")
