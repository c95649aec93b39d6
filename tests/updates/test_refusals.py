"""Promise 2, bad input: a named error, and no byte of any array changed."""

from __future__ import annotations

import ctypes
import mmap
import re

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt import optim
from fastopt.engine.update.run import run_many
from fastopt.scaling import MaxAbsScaler, MeanNormalizer, MinMaxScaler, StandardScaler, Whitener
from fastopt.updates.descent import SGD
from tests.cases import BY_NAME, CASES
from tests.support import bits, copies


def read_only(values):
    values.flags.writeable = False
    return values


def misaligned(values):
    return np.frombuffer(bytearray(values.nbytes + 1), "u1")[1:].view(values.dtype).reshape(values.shape)


def overlapping_itself(values):
    return np.lib.stride_tricks.as_strided(values, strides=(0,) * values.ndim)


def refused(case, arrays, error, message, step=3, **options):
    """Assert that a step raises this, and that it changed nothing."""
    kept = {name: x.copy() if isinstance(x, np.ndarray) else x for name, x in arrays.items()}
    with pytest.raises(error, match=message):
        case.run(arrays, step, **options)
    for name, before in kept.items():
        if isinstance(before, np.ndarray) and not isinstance(before, np.ma.MaskedArray):
            assert arrays[name].tobytes() == before.tobytes(), f"{name} changed"


def test_arrays_that_interleave_and_share_an_element_are_refused():
    arrays = BY_NAME["sgd"].make_arrays(5)
    buffer = np.zeros(20, "f4")
    arrays["param"], arrays["grad"] = buffer[0:10:2], buffer[4:19:3]
    refused(BY_NAME["sgd"], arrays, ValueError, "^grad overlaps param in memory")


@pytest.mark.parametrize(
    ("hyperparameter", "value", "error", "message"),
    [
        ("step", 0, ValueError, "step is 0; expected a whole number, 1 or more"),
        ("step", -1, ValueError, "step is -1; expected a whole number, 1 or more"),
        ("step", 1.0, TypeError, "step is 1.0, a float; expected a whole number"),
        ("step", True, TypeError, "step is True, a bool; expected a whole number"),
        ("step", None, TypeError, "step is None, a NoneType; expected a whole number"),
        ("lr", -1e-3, ValueError, "lr is -0.001; expected a finite number, 0 or more"),
        ("lr", np.nan, ValueError, "lr is nan; expected"),
        ("lr", np.inf, ValueError, "lr is inf; expected"),
        ("lr", "1e-3", TypeError, "lr is '1e-3', a str; expected"),
        ("lr", None, TypeError, "lr is None, a NoneType; expected"),
        ("lr", 1j, TypeError, "lr is 1j, a complex; expected"),
        ("lr", np.ones(3), TypeError, r"lr is array\(\[1., 1., 1.\]\), a ndarray; expected"),
        ("beta1", 1.0, ValueError, "beta1 is 1.0; expected a number from 0 to below 1"),
        ("beta2", -0.1, ValueError, "beta2 is -0.1; expected"),
        ("eps", -1e-8, ValueError, "eps is -1e-08; expected"),
        ("weight_decay", -1, ValueError, "weight_decay is -1.0; expected"),
        ("grad_scale", np.nan, ValueError, "grad_scale is nan; expected a finite number"),
        ("num_threads", 0, ValueError, "num_threads is 0; expected a whole number, 1 or more"),
        ("num_threads", 1.5, TypeError, "num_threads is 1.5, a float; expected a whole number"),
        ("backend", "fortran", ValueError, "backend is 'fortran'; expected None or one of 'cython', 'numba'"),
        ("backend", "cuda", fastopt.BackendUnavailable, "backend 'cuda' needs"),
        ("lr", 1e39, ValueError, "lr is 1e\\+39, which makes a coefficient infinite or NaN in float32; expected"),
        ("grad_scale", 1e300, ValueError, "grad_scale is 1e\\+300, which makes"),
        ("grad_scale", 1e-40, ValueError, "grad_scale is 1e-40, which underflows to 0 in float32"),
        ("step", 2**63, ValueError, r"step is 9223372036854775808; expected a whole number, .*, at most 2\*\*63 - 1$"),
        ("step", 10**400, ValueError, r"step is 1000[.0]{,40}; expected a whole number"),
        ("lr", np.ones(261), TypeError, r"lr is array.{,90}, a ndarray; expected a finite number, 0 or more$"),
        ("backend", "x" * 999, ValueError, r"backend is 'x{9,40}\.\.\.x{9,40}'; expected None or one of"),
        (
            "num_threads",
            2**21,
            ValueError,
            "num_threads is 2097152; expected .*, at most 1048576$",
        ),
        ("step", np.array(3.0), TypeError, "step is array.*; expected a whole number"),
        ("lr", 10**400, ValueError, "lr exceeds the range of float64"),
        ("lr", np.complex64(1 + 2j), TypeError, "lr is .*complex64; expected"),
        ("lr", np.array("0.1"), TypeError, "lr is array.*; expected"),
        ("num_threads", np.array(2.5), TypeError, "num_threads is array.*; expected a whole number"),
        ("backend", 3, TypeError, "backend is 3, a int; expected None or a string"),
    ],
)
def test_bad_hyperparameters(hyperparameter, value, error, message):
    arrays = BY_NAME["adam"].make_arrays(20)
    refused(BY_NAME["adam"], arrays, error, message, **{hyperparameter: value})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: fastopt.momentum(*a[:3], lr=1e39, form="step"), r"lr is 1e\+39, which makes"),
        (lambda a: fastopt.momentum(*a[:3], lr=0.1, dampening=1e39), r"dampening is 1e\+39, which makes"),
        (
            lambda a: fastopt.adamw(*a, step=1, lr=0.5, weight_decay=1e39),
            r"weight_decay is 1e\+39, which makes",
        ),
        (lambda a: fastopt.adamw(*a, step=1, lr=1e30, weight_decay=1e30), r"lr is 1e\+30, which makes"),
        (lambda a: fastopt.kernel("sgd", "float32").prepare(lr=1e39), r"lr is 1e\+39, which makes"),
        (lambda a: fastopt.momentum(*a[:3], lr=0.1, form="sums"), "form is 'sums'; expected 'sum', 'average' or"),
        (lambda a: fastopt.momentum(*a[:3], lr=0.1, form="step", dampening=0.1), "dampening is 0.1; expected 0"),
        (lambda a: fastopt.momentum(*a[:3], lr=0.1, nesterov=True, dampening=0.1), "dampening is 0.1; expected 0"),
        (lambda a: fastopt.momentum(*a[:3], lr=0.1, momentum=1.5), "momentum is 1.5; expected a number from 0 to 1"),
        (lambda a: fastopt.rmsprop(*a[:3], momentum=0.9), "momentum is 0.9; expected 0, because velocity is None"),
        (lambda a: fastopt.rprop(*a, step_min=2, step_max=1), "step_min is 2.0; expected at most step_max"),
        (lambda a: fastopt.rprop(*a, eta_plus=1.0), "eta_plus is 1.0; expected a finite number above 1"),
        (lambda a: fastopt.nadam(*a, step=1, mu_product=1.0), "mu_product is 1.0; expected a number from 0 to below"),
        (
            lambda a: fastopt.nadam(*a, step=1, mu_product=0.9),
            "expected the product of nadam_mu.* at most nadam_mu.step., which is 0.4",
        ),
        (lambda a: fastopt.radam(*a, step=0), "step is 0; expected a whole number, 1 or more"),
        (lambda a: fastopt.radam(*a, step=1, beta2=1.0), "beta2 is 1.0; expected"),
        (
            lambda a: fastopt.ademamix(*a, a[0].copy(), step=1, warmup=0),
            "warmup is 0; expected None or a number of steps",
        ),
        (lambda a: fastopt.set_num_threads(0), "num_threads is 0; expected a whole number, 1 or more"),
    ],
)
def test_bad_choices(call, message):
    arrays = list(BY_NAME["adam"].make_arrays(20).values())
    kept = [x.copy() for x in arrays]
    with pytest.raises(ValueError, match=message):
        call(arrays)
    for before, after in zip(kept, arrays, strict=True):
        np.testing.assert_array_equal(bits(before), bits(after))


@pytest.mark.parametrize("backend", [None, "numba", "reference"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_empty_arrays_are_legal(case, backend):
    for shape in ((0,), (3, 0), (0, 2, 5)):
        case.run(case.make_arrays(shape), 1, backend=backend)


def test_empty_arrays_are_still_checked():
    arrays = BY_NAME["adam"].make_arrays((0, 3))
    arrays["m"] = np.zeros((3, 0), "f4")
    refused(BY_NAME["adam"], arrays, ValueError, r"^m has shape \(3, 0\); expected \(0, 3\)")


def test_every_real_scalar_is_accepted():
    wanted = BY_NAME["adam"].make_arrays(20)
    start = copies(wanted)
    fastopt.adam(**wanted, step=3, lr=0.5, beta1=0.5, weight_decay=0.25, grad_scale=2.0)
    for real in (np.float64, np.float32, np.float16, lambda x: np.array(x, "f4"), lambda x: np.ma.masked_array(x)):
        got = copies(start)
        fastopt.adam(
            **got, step=np.int64(3), lr=real(0.5), beta1=real(0.5), weight_decay=real(0.25), grad_scale=np.int8(2)
        )
        for name, x in wanted.items():
            np.testing.assert_array_equal(bits(got[name]), bits(x))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("side", ["end", "start"])
def test_arrays_beside_an_unreadable_page(side, dtype):
    """Nothing before an array's first byte or behind its last is read."""
    libc = ctypes.CDLL(None, use_errno=True)
    case, page = BY_NAME["adamw"], mmap.PAGESIZE
    for size in (1, 3, 7, 17, 250, 511):
        start = case.make_arrays(size, dtype)
        wanted, got, maps = copies(start), {}, []
        for name, values in start.items():
            pages = mmap.mmap(-1, 3 * page)
            memory = np.frombuffer(pages, "u1")
            offset = 2 * page - values.nbytes if side == "end" else page
            got[name] = memory[offset : offset + values.nbytes].view(dtype)
            got[name][:] = values
            guard = memory.ctypes.data + (2 * page if side == "end" else 0)
            assert libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
            maps.append(pages)
        case.run(wanted, 3)
        case.run(got, 3)
        for name, x in wanted.items():
            np.testing.assert_array_equal(bits(got[name]), bits(x))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("step", [1, 2])
def test_a_gradient_on_a_read_only_page_is_not_written(dtype, step):
    """Used as it lies there, or through blocks: of another type, or of every second element."""
    case = BY_NAME["adam"]
    wanted = case.make_arrays(100)
    got = copies(wanted)
    pages = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    memory = np.frombuffer(pages, dtype)[: 100 * step : step]
    memory[:] = got["grad"]
    address = np.frombuffer(pages, "u1").ctypes.data
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), 1) == 0
    got["grad"], wanted["grad"] = memory, memory.copy()
    case.run(wanted, 3)
    case.run(got, 3)
    np.testing.assert_array_equal(got["param"], wanted["param"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_missing_or_superfluous_argument_is_pythons_error(case):
    arrays = case.make_arrays(3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'learning_rate'"):
        case.run(arrays, 1, learning_rate=1)
    del arrays[case.target]
    with pytest.raises(TypeError, match=re.escape(case.target)):
        case.run(arrays, 1)


def test_columns_of_one_matrix_are_told_apart_at_once(monkeypatch):
    """Two thousand interleaved arrays: no search for common elements, of which there would be two million."""
    matrix = np.ones((5, 4000), "f4")
    tensors = [(matrix[:, 2 * i], matrix[:, 2 * i + 1]) for i in range(2000)]
    monkeypatch.setattr(np, "shares_memory", None)
    run_many(SGD.only, tensors, (0.5, 0.0, 1.0), None, None)
    assert np.all(matrix[:, ::2] == 0.5)
    assert np.all(matrix[:, 1::2] == 1)


def test_strided_arrays_are_refused_if_and_only_if_they_share_an_element():
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(3000):
        memory = np.ones(60, "u2")
        views = []
        for dtype in rng.choice(["f2", "f4", "f8"], 2):
            size = np.dtype(dtype).itemsize // 2
            start, step = size * rng.integers(0, 12 // size), size * rng.integers(-3, 4)
            part = np.lib.stride_tricks.as_strided(memory[24 + start :].view(dtype)[:1], (3,), (2 * step,))
            views.append(part)
        shared = np.shares_memory(*views)
        refused_for = ""
        try:
            fastopt.sgd(*views, lr=0.0)
        except ValueError as error:
            refused_for = str(error)
            refusals += 1
        assert bool(refused_for) == shared or "overlaps itself" in refused_for, [x.__array_interface__ for x in views]
    assert 500 < refusals < 2500


def test_arrays_that_overlap_themselves_are_refused():
    """Whatever their strides; of others, tests/updates/test_layouts.py has those that slices and transposes make."""
    rng = np.random.default_rng(0)
    refusals = {True: 0, False: 0}
    for _ in range(3000):
        shape = tuple(rng.integers(1, 5, 3))
        strides = tuple(4 * rng.integers(-9, 10, 3))
        memory = np.arange(200, dtype="f4")
        param = np.lib.stride_tricks.as_strided(memory[100:], shape, strides)
        twice = np.unique(param).size < param.size
        before = memory.copy()
        message = ""
        try:
            fastopt.sgd(param, np.ones(shape, "f4"), lr=1.0)
        except ValueError as error:
            message = str(error)
        if twice or message:
            assert message.startswith("param overlaps itself: its strides"), (shape, strides)
            np.testing.assert_array_equal(memory, before)
        else:
            assert before.sum() - memory.sum() == param.size
        refusals[bool(message)] += 1
    assert min(refusals.values()) > 500, refusals


def slice_of(memory, rng, length):
    step = int(rng.choice([-3, -2, -1, 1, 2, 3]))
    reach = abs(step) * (length - 1) + 1
    first = int(rng.integers(0, memory.size - reach + 1))
    part = memory[first : first + reach : abs(step)]
    return part if step > 0 else part[::-1]


def test_arrays_of_a_model_are_refused_if_and_only_if_they_share_an_element():
    """Interleaved, long ones around short ones: parameters when an optimizer is made, gradients at a step."""
    rng = np.random.default_rng(0)
    seen = {"stepped": 0, "params": 0, "grads": 0}

    def refusal(call):
        try:
            return call(), ""
        except ValueError as error:
            return None, str(error)

    for _ in range(3000):
        memory = np.arange(40, dtype="f4")
        params = [slice_of(memory, rng, int(rng.integers(1, 9))) for _ in range(int(rng.integers(2, 4)))]
        optimizer, message = refusal(lambda params=params: optim.SGD(params, lr=1.0))
        shared = [(a, b) for a in range(len(params)) for b in range(a) if np.shares_memory(params[a], params[b])]
        if message:
            assert any(f"params[{a}] overlaps params[{b}] in memory" in message for a, b in shared), message
            seen["params"] += 1
            continue
        assert not shared
        at = int(rng.integers(len(params)))
        grad = slice_of(memory, rng, params[at].size)
        before, change = memory.copy(), grad.copy()
        shared = [i for i, param in enumerate(params) if np.shares_memory(grad, param)]
        given = [grad if i == at else None for i in range(len(params))]
        _, message = refusal(lambda optimizer=optimizer, given=given: optimizer.step(given))
        if message:
            assert any(f"grad of params[{at}] overlaps params[{i}] in memory" in message for i in shared), message
            seen["grads"] += 1
        else:
            assert not shared
            seen["stepped"] += 1
            params[at] += change
        np.testing.assert_array_equal(memory, before)
    assert min(seen.values()) > 100, seen


def test_a_gradient_between_a_long_parameter_and_the_end_of_a_short_one():
    """The parameter that begins last ends before the gradient begins; the first, around it, does not."""
    memory = np.zeros(20, "f4")
    params = [memory[0:16:2], memory[1:4:2]]
    optimizer = optim.SGD(params, lr=1.0)
    kept = memory.copy()
    with pytest.raises(ValueError, match=r"^grad of params\[1\] overlaps params\[0\] in memory"):
        optimizer.step([None, memory[6:10:2]])
    with pytest.raises(ValueError, match=r"^params\[2\] overlaps params\[0\] in memory"):
        optim.SGD([*params, memory[6:10:2]], lr=1.0)
    np.testing.assert_array_equal(memory, kept)
    optimizer.step([None, memory[7:11:2]])
    optim.SGD([*params, memory[7:11:2]], lr=1.0)


def test_arrays_of_which_it_is_hard_to_tell_are_refused():
    """They share one element, which NumPy would search for long; and would not find in short."""
    memory, shape = np.zeros(9_000_000, "f4"), (17, 19, 27)
    param = np.lib.stride_tricks.as_strided(memory, shape, (117836, 5932, 212))
    grad = np.lib.stride_tricks.as_strided(memory[44972:], shape, (1073936, 746292, 22228))
    with pytest.raises(np.exceptions.TooHardError):
        np.shares_memory(param, grad, max_work=100_000)
    refused(BY_NAME["sgd"], {"param": param, "grad": grad}, ValueError, "^grad overlaps param in memory")


def test_arrays_that_are_only_read_may_share_memory():
    """The same gradient for two tensors, or x in two places: the result is that of copies."""
    x, y = (np.random.default_rng(seed).standard_normal((6, 4)).astype("f4") for seed in (0, 1))
    statistics = fastopt.batch_norm_forward(y)[1:]
    params = [np.ones((6, 4), "f4"), np.ones((6, 4), "f4")]
    for step in (1, 2):
        run_many(SGD.only, [(param, x) for param in params], (0.25, 0.0, 1.0), None, None)
        optim.SGD(params, lr=0.25).step([x, x])
        for param in params:
            np.testing.assert_allclose(param, 1 - 0.5 * step * x, rtol=1e-5, atol=1e-6)
    for call in (
        lambda x, other: fastopt.batch_norm_forward(x, residual=other),
        lambda x, other: fastopt.layer_norm_forward(x, x[0], other[0]),
        lambda x, other: fastopt.batch_norm_backward(x, other, None, *statistics),
        lambda x, other: (fastopt.residual_add(x, other),),
    ):
        for shared, apart in zip(call(x, x), call(x, x.copy()), strict=True):
            np.testing.assert_array_equal(bits(shared), bits(apart))


# ---- The same memory, taken for numbers of another kind


def other_storage(array):
    """The same bytes: float16 as bfloat16."""
    return array.view(ml_dtypes.bfloat16)


def halves(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("f2")


def scaler_call(kind, method):
    def call(x):
        getattr(kind().fit(halves(6, 4)), method)(x, other_storage(x))

    return call


def norm_forward(norm, **options):
    def call(x):
        getattr(fastopt, f"{norm}_norm_forward")(x, out=(other_storage(x), None, None), **options)

    return call


def norm_backward(norm, of="dy", **options):
    def call(x):
        other = halves(6, 4)
        statistics = getattr(fastopt, f"{norm}_norm_forward")(other, **options)[1:]
        dy, x_given = (x, other) if of == "dy" else (other, x)
        out = (other_storage(x), None, None)
        getattr(fastopt, f"{norm}_norm_backward")(dy, x_given, None, *statistics, out=out, **options)

    return call


WITH_OUT = {
    **{
        f"{kind.__name__}.{method}": scaler_call(kind, method)
        for kind in (StandardScaler, MinMaxScaler, MeanNormalizer, MaxAbsScaler, Whitener)
        for method in ("transform", "inverse_transform")
    },
    **{
        f"{norm}_norm {call.__name__} {options}": call(norm, **options)
        for norm, given in (("batch", {}), ("layer", {}), ("instance", {}), ("group", {"groups": 2}))
        for call, options in (
            (norm_forward, given),
            (norm_backward, given),
            (norm_backward, {**given, "of": "x"}),
        )
    },
    "batch_norm_inference": lambda x: fastopt.batch_norm_inference(
        x, None, None, np.zeros(4, "f4"), np.ones(4, "f4"), out=other_storage(x)
    ),
    "residual_add": lambda x: fastopt.residual_add(x, halves(6, 4), out=other_storage(x)),
    "residual_add of residual": lambda x: fastopt.residual_add(halves(6, 4), x, out=other_storage(x)),
    "residual_add_backward": lambda x: fastopt.residual_add_backward(
        x, y=halves(6, 4), activation="relu", out=other_storage(x)
    ),
    "dropout_forward": lambda x: fastopt.dropout_forward(x, p=0.5, seed=1, out=other_storage(x)),
    "dropout_backward": lambda x: fastopt.dropout_backward(x, p=0.5, seed=1, out=other_storage(x)),
    "dropout of nothing": lambda x: fastopt.dropout_forward(x, p=0.0, seed=1, out=other_storage(x)),
    "sgd": lambda x: fastopt.sgd(x, other_storage(x), lr=0.1),
    "accumulate": lambda x: fastopt.accumulate(x, other_storage(x)),
    "an optimizer": lambda x: optim.SGD([x], lr=0.1).step([other_storage(x)]),
}


@pytest.mark.parametrize("name", WITH_OUT)
def test_a_result_in_another_storage_over_the_same_memory_is_refused(name):
    x = halves(6, 4)
    before = x.tobytes()
    with pytest.raises(ValueError, match=r" overlaps .* in memory"):
        WITH_OUT[name](x)
    assert x.tobytes() == before
