"""Updates called in functions that Numba compiles: the same bits as the public functions, and refusals."""

from __future__ import annotations

import inspect

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

import fastopt
import fastopt.numba
from fastopt.numba.scalars import NUMBERS, prepare_of
from fastopt.specs.updates import UPDATES
from tests.cases import BY_NAME, CASES
from tests.support import assert_same_bits, copies, f_order, reversed_axes, run_python, sliced

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

#: One for each way that coefficients are computed, rules that stand at the corners included: those are slow to compile.
FEW = ["sgd-decay", "momentum-nesterov", "rmsprop-centered-momentum", "rprop", "adam-amsgrad", "radam", "adan"]


def function_of(case, *given):
    """A user's function that calls a case's update: hyperparameters that change are arguments, the others numbers."""
    changing = [*case.of_step(1), *given]
    keywords = [f"{name}={name}" for name in changing]
    keywords += [f"{name}={value!r}" for name, value in case.fixed.items() if name not in given]
    taken = [name for name in inspect.signature(case.update).parameters if name in ("grad_avg", "v_max", "velocity")]
    arrays = [*(name for name in case.arrays if name not in taken), *(name for name in taken if name in case.arrays)]
    positional = [name for name in arrays if name not in taken]
    keywords += [f"{name}={name if name in case.arrays else None}" for name in taken]
    text = f"def step({', '.join([*case.arrays, *changing])}):\n    update({', '.join([*positional, *keywords])})\n"
    names = {"update": getattr(fastopt.numba, case.update.__name__)}
    exec(text, names)
    return names["step"]


def check(case, step, shape, dtype, layouts, number):
    """One step in a compiled function, and one of the public function."""
    start = case.make_arrays(shape, dtype)
    arrays = {name: layouts[i % len(layouts)](array) for i, (name, array) in enumerate(start.items())}
    wanted = copies(arrays)
    case.run(wanted, number)
    step(*arrays.values(), *case.of_step(number).values())
    assert_same_bits(arrays, wanted, f"{case.name}, {dtype}, step {number}")


@pytest.mark.ci
@every_case
def test_bits_of_float32(case):
    """Arrays that are runs; steps at which radam has two rules, and what is left out is as in Python."""
    step = numba.njit(function_of(case))
    for number in (1, 7, 2**24 + 1):
        check(case, step, (3, 37), "float32", [np.copy], number)


@pytest.mark.ci
@pytest.mark.parametrize("name", FEW)
def test_bits_of_float64_and_of_strided_arrays(name):
    step = numba.njit(function_of(BY_NAME[name]))
    for number in (1, 7, 1000):
        check(BY_NAME[name], step, (3, 37), "float64", [np.copy, f_order, sliced, reversed_axes], number)


def test_layouts_and_types_together():
    """Each is compiled by itself: of no axes, none but F-ordered arrays, float32 and float64 arrays in one call."""
    case = BY_NAME["momentum"]
    step = numba.njit(function_of(case))
    check(case, step, (), "float32", [np.copy], 1)
    check(case, step, (3, 4), "float32", [f_order], 1)
    check(case, step, (0, 4), "float32", [np.copy], 1)
    check(case, step, 40, "float32", [sliced, np.copy], 1)
    check(case, step, 40, "float32", [np.copy, lambda x: x.astype("float64"), np.copy], 1)


@every_case
def test_coefficients(case):
    """In float64 to the last bit: powers and logarithms in Numba are those of Python, if the step is a float."""
    parameters = inspect.signature(case.update).parameters.values()
    options = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    options.update(case.fixed)
    spec = UPDATES[case.update.__name__]
    update = spec.updates[True if spec.condition else tuple(name for name in spec.optional if name in case.state)]
    changing = [name for name in update.hyperparameters if name in case.of_step(1)]
    texts = [
        name if name in changing else repr(NUMBERS.get(options[name], options[name])) for name in update.hyperparameters
    ]
    names = {"prepare": prepare_of(update)}
    compiled = numba.njit(eval(f"lambda {', '.join(changing)}: prepare({', '.join(texts)})", names))
    for number in (7, 1000, 2**24 + 1):
        values = tuple({**options, **case.of_step(number)}[name] for name in update.hyperparameters)
        assert compiled(*(float(case.of_step(number)[name]) for name in changing)) == update.prepare(values)


def test_a_step_that_is_a_constant_2():
    """beta**2 is the C library's power: for this beta, the product beta * beta is another number."""
    numbers = np.random.default_rng(0).uniform(0.9, 1, 100_000).tolist()  # so that 1 - beta**2 keeps the last bit
    beta = next(x for x in numbers if 1 / (1 - x**2.0) != 1 / (1 - x * x))
    compiled = numba.njit(lambda a, b, c, d, beta: fastopt.numba.adam(a, b, c, d, step=2, lr=1.0, beta1=beta))
    for scale in np.arange(1.0, 30.0):  # not every number that follows shows the last bit; param is 0, to round nothing
        got, wanted = (scale * np.outer([0, 1, 1, 1], np.ones(3)) for _ in range(2))
        compiled(*got, beta)
        fastopt.adam(*wanted, step=2, lr=1.0, beta1=beta)
        np.testing.assert_array_equal(got, wanted)


def test_a_learning_rate_may_be_a_bool():
    got, wanted = np.ones((2, 3)), np.ones((2, 3))
    numba.njit(lambda a, b, lr: fastopt.numba.sgd(a, b, lr=lr))(*got, True)
    fastopt.sgd(*wanted, lr=True)
    np.testing.assert_array_equal(got, wanted)


def test_every_update_is_there():
    assert set(fastopt.numba.__all__) == {*UPDATES, "nadam_mu"}
    for name in fastopt.numba.__all__:
        assert getattr(fastopt.numba, name) is getattr(fastopt, name)


# ---- The user's function


ADAM = BY_NAME["adam-amsgrad"]


def test_whatever_the_users_options():
    """Above all, fastmath stays the user's own: neither contraction nor reciprocals come in.

    The arrays have more axes than elsewhere: what was compiled before would be taken as it is.
    """
    options = {"fastmath": True, "parallel": True, "nogil": True, "error_model": "numpy"}
    check(ADAM, numba.njit(function_of(ADAM), **options), (2, 2, 5, 100), "float32", [sliced], 3)


def test_a_parallel_loop_over_tensors():
    @numba.njit(parallel=True)
    def step_all(params, grads, m, v, step):
        for i in numba.prange(len(params)):
            fastopt.numba.adam(params[i], grads[i], m[i], v[i], step=step, lr=0.1)

    tensors = [BY_NAME["adam"].make_arrays(size, seed=size) for size in (1, 30, 700)]
    wanted = [copies(arrays) for arrays in tensors]
    step_all(*(tuple(arrays[name] for arrays in tensors) for name in ("param", "grad", "m", "v")), 2)
    for got, arrays in zip(tensors, wanted, strict=True):
        fastopt.adam(**arrays, step=2, lr=0.1)
        assert_same_bits(got, arrays)
    rows = tuple(arrays["param"] for arrays in tensors)
    with pytest.raises(SystemError) as error:  # what Numba makes of errors in such a loop
        step_all(rows, rows, rows, rows, 2)
    assert "param, grad, m, v overlap" in str(error.value.__cause__)


USERS = """
import numba, fastopt.numba

@numba.njit(cache=True)
def first(param, grad, m, v):
    fastopt.numba.adam(param, grad, m, v, step=1, lr=0.5)

@numba.njit(cache=True)
def second(param, grad, m, v):
    fastopt.numba.adam(param, grad, m, v, step=2, lr=0.25, weight_decay=0.125)
"""

RUNS_THEM = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, users
for name in sys.argv[2:]:
    function, arrays = getattr(users, name), [np.full(9, x, "f4") for x in (1, 2, 3, 4)]
    function(*arrays)
    print(len(function.stats.cache_hits), arrays[0][0])
"""


def test_cache(tmp_path):
    """Each compiled by a process of its own, both loaded by a third: no machine code is taken for another's."""
    (tmp_path / "users.py").write_text(USERS)
    said = [run_python(RUNS_THEM, str(tmp_path), *names) for names in (["first"], ["second"], ["first", "second"])]
    wanted = []
    for options in ({"step": 1, "lr": 0.5}, {"step": 2, "lr": 0.25, "weight_decay": 0.125}):
        arrays = [np.full(9, x, "f4") for x in (1, 2, 3, 4)]
        fastopt.adam(*arrays, **options)
        wanted.append(arrays[0][0])
    assert [text.split() for text in said] == [
        ["0", str(wanted[0])], ["0", str(wanted[1])], ["1", str(wanted[0]), "1", str(wanted[1])],
    ]  # fmt: skip


def test_defaults_of_the_users_function():
    @numba.njit
    def step(param, grad, velocity=None, lr=0.5, form="step", nesterov=False):
        fastopt.numba.momentum(param, grad, velocity, lr=lr, form=form, nesterov=nesterov)

    got, wanted = np.ones((3, 5)), np.ones((3, 5))
    step(*got)
    fastopt.momentum(*wanted, lr=0.5, form="step")
    np.testing.assert_array_equal(got, wanted)


def test_nadam_mu():
    compiled = numba.njit(lambda step: fastopt.numba.nadam_mu(step, momentum_decay=0.5))
    assert [compiled(step) for step in (1, 9)] == [fastopt.nadam_mu(step, momentum_decay=0.5) for step in (1, 9)]


def test_in_python_it_is_the_public_function():
    """Also where Numba is told to compile nothing."""
    function = numba.njit(function_of(ADAM)).py_func
    check(ADAM, function, (3, 4), "float32", [sliced], 3)


def test_import_of_fastopt_leaves_numba_alone():
    assert run_python("import sys, fastopt; print('numba' in sys.modules)") == "False\n"


# ---- Refusals


@pytest.fixture(scope="module")
def step():
    """Adam with all that may be out of range."""
    return numba.njit(function_of(BY_NAME["adam"], "lr", "beta1", "weight_decay", "grad_scale"))


GOOD = {"step": 3, "lr": 1e-3, "beta1": 0.9, "weight_decay": 0.0, "grad_scale": 1.0}


def refused(compiled, arrays, error, message, **options):
    kept = copies(arrays)
    with pytest.raises(error, match=message):
        compiled(*arrays.values(), *{**GOOD, **options}.values())
    assert_same_bits(arrays, kept)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0}, "^step is out of range; expected a whole number, 1 or more: steps count from 1$"),
        ({"step": -3}, "^step is out of range"),
        ({"lr": -1e-3}, "^lr is out of range; expected a finite number, 0 or more$"),
        ({"lr": np.nan}, "^lr is out of range"),
        ({"lr": np.inf}, "^lr is out of range"),
        ({"beta1": 1.0}, "^beta1 is out of range; expected a number from 0 to below 1$"),
        (
            {"lr": 1e39},
            "^a coefficient becomes infinite in float32; expected hyperparameters for which all are finite$",
        ),
        ({"grad_scale": 1e-40}, "^grad_scale vanishes in float32; expected 0, or a number that does not$"),
    ],
)
def test_numbers_out_of_range(step, options, message):
    refused(step, BY_NAME["adam"].make_arrays(20), ValueError, message, **options)


def test_shapes_and_overlaps(step):
    arrays = BY_NAME["adam"].make_arrays(20)
    refused(step, {**arrays, "m": arrays["m"][:-1]}, ValueError, "^m has another shape than param; expected the same$")
    overlap = "^param, grad, m, v overlap in memory; expected arrays that share no element$"
    for first, second in (("param", "grad"), ("m", "v"), ("grad", "v")):
        shared = np.ones(39, "f4")
        for shift in (0, 19):
            changed = {**arrays, first: shared[:20], second: shared[shift : 20 + shift]}
            refused(step, changed, ValueError, overlap)
        apart = np.ones(40, "f4")
        step(*{**arrays, first: apart[:20], second: apart[20:]}.values(), *GOOD.values())
    columns = np.ones((20, 4), "f4")
    step(*columns.T, *GOOD.values())
    refused(
        step,
        dict(zip(arrays, columns.T[[0, 1, 1, 2]].copy().T.T, strict=True))
        | {"m": columns[:, 0], "param": columns[:, 0]},
        ValueError,
        overlap,
    )
    same = np.lib.stride_tricks.as_strided(arrays["m"], strides=(0,))
    refused(step, {**arrays, "m": same}, ValueError, "^m overlaps itself in memory; expected no stride of 0$")


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("param", lambda x: x.astype("i4"), r"param is array\(int32, 1d, C\); expected an array of float32 or float64"),
        ("grad", lambda x: x.astype("f2"), r"grad is array\(float16, 1d, C\); expected an array of float32 or float64"),
        ("m", lambda x: 1.0, "m is float64; expected an array of float32 or float64"),
        ("m", lambda x: None, "m is none; expected an array of float32 or float64"),
        ("v", read_only, r"v is .*, which is read-only; expected an array that may be written"),
        ("v", lambda x: x[None], "v has 2 axes; expected 1, as param has"),
    ],
)
def test_types_of_arrays(step, name, change, message):
    arrays = BY_NAME["adam"].make_arrays(20)
    with pytest.raises(TypingError, match=message):
        step(*{**arrays, name: change(arrays[name])}.values(), *GOOD.values())


def test_fields_of_packed_records():
    function = numba.njit(lambda records: fastopt.numba.sgd(records.param, records.grad, lr=0.1))
    with pytest.raises(TypingError, match=r"param is unaligned array\(float32, 1d, A\); expected an aligned array"):
        function(np.zeros(3, [("before", "u1"), ("param", "f4"), ("grad", "f4")]))


def test_a_read_only_gradient_is_read(step):
    arrays = BY_NAME["adam"].make_arrays(20)
    step(*{**arrays, "grad": read_only(arrays["grad"])}.values(), *GOOD.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 3.0}, "step is float64; expected a whole number"),
        ({"step": True}, "step is bool; expected a whole number"),
        ({"lr": 1j}, "lr is complex128; expected a number"),
        ({"lr": None}, "lr is none; expected a number"),
        ({"lr": "0.1"}, "lr is unicode_type; expected a number"),
    ],
)
def test_types_of_hyperparameters(step, options, message):
    arrays = BY_NAME["adam"].make_arrays(20)
    with pytest.raises(TypingError, match=message):
        step(*arrays.values(), *{**GOOD, **options}.values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "momentum(a, b, c, lr=0.1, form='sums')",
            r"form is .*sums.*; expected 'sum' or 'average' or 'step' as a literal",
        ),
        (
            "momentum(a, b, c, lr=0.1, form='step', dampening=0.5)",
            "dampening is out of range; expected 0 unless form is",
        ),
        ("rmsprop(a, b, c, momentum=0.5)", "momentum is out of range; expected 0, because velocity is None"),
        ("ademamix(a, b, c, d, e, step=1, warmup=0)", "warmup is out of range; expected None or a number of steps"),
        ("sgd(a, b)", "missing a required .*argument: 'lr'"),
        ("sgd(a, b, 0.1)", "too many positional arguments"),
        ("sgd(a, b, lr=0.1, num_threads=2)", "got an unexpected keyword argument 'num_threads'"),
    ],
)
def test_bad_calls(call, message):
    function = eval(f"lambda a, b, c, d, e: {call}", vars(fastopt.numba))
    with pytest.raises((TypingError, ValueError), match=message):
        numba.njit(function)(*np.ones((5, 3)))
