"""Promise 2 for norms: a named error, and no byte of any array changed."""

from __future__ import annotations

import numpy as np
import pytest

import fastopt
from tests.norm_cases import ALONE, BY_NAME, CASES, NormCase
from tests.support import Arrays

SHAPE = (20, 20)

every_norm = pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
fused_norms = pytest.mark.parametrize(
    "case", [case for case in CASES if case.name.endswith("+both") and case.axis == 1], ids=lambda case: case.name
)
directions = pytest.mark.parametrize("direction", ["forward", "backward"])


class Call:
    """A call that would succeed: its arrays and those for its results, to be spoilt before it is made."""

    def __init__(self, case: NormCase, direction: str, shape: tuple[int, ...] = SHAPE):
        self.case, self.direction = case, direction
        arrays = case.make_arrays(shape)
        made = case.forward({name: array.copy() for name, array in arrays.items()})
        self.results = case.made_forward if direction == "forward" else case.made_backward
        results = made if direction == "forward" else case.backward(arrays, made)
        if direction == "forward":
            self.inputs = [name for name in case.inputs if name in arrays]
        else:
            statistics = ("running_mean", "running_var") if case.inference else ("mean", "rstd")
            self.inputs = ["dy", "x", "weight", *statistics, *(["y"] if case.activation else [])]
        self.arrays: Arrays = {name: (made | arrays)[name].copy() for name in [*arrays, *made] if name in self.inputs}
        self.arrays |= {name: np.full_like(results[name], 77) for name in self.results}
        self.unspoilt = dict(self.arrays)

    @property
    def written(self) -> list[str]:
        """What the call writes."""
        return [*self.results, *(self.case.updated if self.direction == "forward" else [])]

    @property
    def optional(self) -> set[str]:
        """What may be None."""
        return {*self.results, "weight", "bias", "residual"}

    def run(self, **options):
        """Make the call, results going to the arrays that are there for them."""
        out = tuple(self.arrays[name] for name in self.results)
        given = {name: self.arrays[name] for name in self.inputs}
        given["out"] = out[0] if self.direction == "forward" and self.case.inference else out
        if self.direction == "forward":
            return self.case.forward(self.unspoilt, **{**given, **options})
        return self.case.backward(self.unspoilt, self.unspoilt, **{**given, **options})

    def refused(self, error, message, **options):
        """Assert that the call raises this, and that it changed nothing."""
        plain = {
            name: array
            for name, array in self.arrays.items()
            if isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray)
        }
        kept = {name: array.tobytes() for name, array in plain.items()}
        with pytest.raises(error, match=message):
            self.run(**options)
        for name, before in kept.items():
            assert plain[name].tobytes() == before, f"{name} changed"


def called(case: NormCase, name: str) -> str:
    """Return what an error calls a result: inference has just one."""
    return "out" if case.inference and name == "y" else name


@directions
@every_norm
def test_too_few_axes(case, direction):
    for shape in ((), (20,)):
        if case.norm == "layer" and shape:
            continue
        call = Call(case, direction)
        call.arrays["x"] = np.ones(shape, "f4")
        least = "1 axis" if case.norm == "layer" else "2 axes"
        call.refused(ValueError, rf"^x has shape \({'20,' if shape else ''}\); expected at least {least}")


def test_arrays_that_are_only_read_may_be_the_same():
    x, weight = np.ones((4, 3), "f4"), np.ones(3, "f4")
    fastopt.batch_norm_forward(x, weight, weight, residual=x)
    fastopt.batch_norm_backward(x, x, weight, weight, weight, y=x, activation="relu")
    fastopt.batch_norm_inference(x, weight, weight, weight, weight, residual=x)


NOT_AN_AXIS = "expected a whole number"
BAD_OPTIONS = [
    ("eps", -1e-5, ValueError, "eps is -1e-05; expected a finite number, 0 or more"),
    ("eps", np.nan, ValueError, "eps is nan; expected"),
    ("eps", np.inf, ValueError, "eps is inf; expected"),
    ("eps", "1e-5", TypeError, "eps is '1e-5', a str; expected"),
    ("eps", None, TypeError, "eps is None, a NoneType; expected"),
    ("eps", 1j, TypeError, "eps is 1j, a complex; expected"),
    ("eps", np.ones(2), TypeError, "eps is array.*, a ndarray; expected"),
    ("momentum", -0.1, ValueError, "momentum is -0.1; expected a number from 0 to 1"),
    ("momentum", 1.5, ValueError, "momentum is 1.5; expected a number from 0 to 1"),
    ("momentum", np.nan, ValueError, "momentum is nan; expected"),
    ("momentum", None, TypeError, "momentum is None, a NoneType; expected"),
    ("unbiased", 1, TypeError, "unbiased is 1, a int; expected True or False"),
    ("unbiased", None, TypeError, "unbiased is None, a NoneType; expected True or False"),
    ("axis", 2, ValueError, f"axis is 2; {NOT_AN_AXIS}"),
    ("axis", -3, ValueError, f"axis is -3; {NOT_AN_AXIS}"),
    ("axis", 10**30, ValueError, f"axis is 10+; {NOT_AN_AXIS}"),
    ("axis", 1.0, TypeError, f"axis is 1.0, a float; {NOT_AN_AXIS}"),
    ("axis", "1", TypeError, f"axis is '1', a str; {NOT_AN_AXIS}"),
    ("axis", None, TypeError, f"axis is None, a NoneType; {NOT_AN_AXIS}"),
    ("axis", (1,), TypeError, rf"axis is \(1,\), a tuple; {NOT_AN_AXIS}"),
    ("groups", 0, ValueError, "groups is 0; expected a whole number, 1 or more"),
    ("groups", -2, ValueError, "groups is -2; expected a whole number, 1 or more"),
    ("groups", 3, ValueError, "groups is 3; expected a divisor of the 20 channels of x"),
    ("groups", 40, ValueError, "groups is 40; expected a divisor of the 20 channels of x"),
    ("groups", 2.0, TypeError, "groups is 2.0, a float; expected a whole number"),
    ("groups", True, TypeError, "groups is True, a bool; expected a whole number"),
    ("groups", None, TypeError, "groups is None, a NoneType; expected a whole number"),
    ("activation", "gelu", ValueError, "activation is 'gelu'; expected None or 'relu'"),
    ("activation", "", ValueError, "activation is ''; expected None or 'relu'"),
    ("activation", True, TypeError, "activation is True, a bool; expected None or 'relu'"),
    ("activation", np.maximum, TypeError, "activation is <ufunc 'maximum'>, a ufunc; expected None or 'relu'"),
    ("num_threads", 0, ValueError, "num_threads is 0; expected a whole number, 1 or more"),
    ("num_threads", 1.5, TypeError, "num_threads is 1.5, a float; expected a whole number"),
    ("backend", "fortran", ValueError, "backend is 'fortran'; expected None or one of 'cython', 'numba'"),
    ("backend", 3, TypeError, "backend is 3, a int; expected None or a string"),
    ("backend", "cuda", fastopt.BackendUnavailable, "backend 'cuda' needs"),
]


@pytest.mark.parametrize(("option", "value", "error", "message"), BAD_OPTIONS)
@every_norm
def test_bad_options(case, option, value, error, message):
    of_one_norm = {"groups": case.norm == "group", **dict.fromkeys(("momentum", "unbiased"), bool(case.updated))}
    for direction in ("forward", "backward"):
        if not of_one_norm.get(option, True) or (direction == "backward" and option in ("momentum", "unbiased")):
            continue
        if direction == "backward" and option == "eps" and not case.inference:
            continue
        Call(case, direction).refused(error, f"^{message}", **{option: value})


@every_norm
def test_the_samples_axis_is_no_channels_axis(case):
    """Layer norm may take all axes together."""
    for direction in ("forward", "backward"):
        if case.norm == "layer":
            continue
        for axis in (0, -2):
            message = f"^axis is {axis}; expected a whole number from 1 to 1, or from -1 to -1"
            Call(case, direction).refused(ValueError, message, axis=axis)


@pytest.mark.parametrize("value", [1, None, "yes", np.ones(1)], ids=str)
@every_norm
def test_whether_there_was_a_residual_is_true_or_false(case, value):
    Call(case, "backward").refused(TypeError, "^residual is .*; expected True or False", residual=value)


@every_norm
def test_relus_gradient_needs_y(case):
    call = Call(case, "backward")
    call.refused(ValueError, "^y is None; expected the output of the forward pass", activation="relu")


@pytest.mark.parametrize("missing", ["running_mean", "running_var"])
def test_one_running_statistic_without_the_other(missing):
    call = Call(BY_NAME["batch"], "forward")
    call.arrays[missing] = None
    call.refused(ValueError, f"^{missing} is None; expected an array, as the other running statistic is given")


@directions
@fused_norms
def test_out_with_too_few_or_too_many_members(case, direction):
    call = Call(case, direction)
    if direction == "forward" and case.inference:
        call.refused(TypeError, "^out is a tuple; expected an array", out=(call.arrays["y"],))
        return
    out = tuple(call.arrays[name] for name in call.results)
    for wrong in (out[:-1], (*out, None), ()):
        message = f"^out has {len(wrong)} members; expected {len(out)}: {', '.join(call.results)}"
        call.refused(ValueError, message, out=wrong)


@directions
@fused_norms
def test_empty_arrays_are_still_checked(case, direction):
    call = Call(case, direction, (0, 20))
    call.arrays["weight"] = np.zeros(19, "f4")
    call.refused(ValueError, r"^weight has shape \(19,\); expected \(20,\)")
    call = Call(case, direction, (0, 20))
    name = "residual" if direction == "forward" else "dy"
    call.arrays[name] = np.zeros((20, 0), "f4")
    call.refused(ValueError, rf"^{name} has shape \(20, 0\); expected \(0, 20\)")


@pytest.mark.parametrize("backend", ["numba", "reference"])
@fused_norms
def test_every_backend_refuses(case, backend):
    for direction in ("forward", "backward"):
        call = Call(case, direction)
        call.arrays["weight"] = call.arrays["weight"][:-1]
        call.refused(ValueError, r"^weight has shape \(19,\); expected \(20,\)", backend=backend)


def test_every_real_scalar_is_accepted():
    x = np.random.default_rng(0).standard_normal((4, 6, 5)).astype("f4")
    wanted = fastopt.batch_norm_forward(x, eps=0.5, momentum=0.5)[0]
    for real in (np.float64, np.float32, np.float16, lambda value: np.array(value, "f4")):
        got = fastopt.batch_norm_forward(x, eps=real(0.5), momentum=real(0.5), axis=np.int8(1), unbiased=np.True_)[0]
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(
        fastopt.group_norm_forward(x, groups=np.int16(3))[0], fastopt.group_norm_forward(x, groups=3)[0]
    )


# ---- What a caller's own code, or shapes that no memory holds, could break


def test_an_axis_whose_code_changes_the_array_is_asked_before_the_array_is_looked_at():
    x = np.zeros((4, 3, 500), "f4")

    class Axis:
        def __index__(self):
            x.resize((12, 500), refcheck=False)
            return 1

    y, mean, _ = fastopt.batch_norm_forward(x, axis=Axis())
    assert y.shape == (12, 500)
    assert mean.shape == (500,)


@pytest.mark.parametrize("axis", [True, np.True_])
def test_a_truth_value_is_no_axis(axis):
    with pytest.raises(TypeError, match=r"^axis is True|^axis is np.True_"):
        fastopt.batch_norm_forward(np.zeros((2, 3), "f4"), axis=axis)


def test_more_channels_than_any_memory_holds():
    channels = 2**61
    x, running = np.empty((0, channels), "f2"), np.broadcast_to(np.float16(1), (channels,))
    with pytest.raises(MemoryError, match=r"^x has shape \(0, 2305843009213693952\)"):
        fastopt.batch_norm_inference(x, None, None, running, running)
