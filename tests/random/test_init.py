"""fastopt.init: distributions and their moments, fans, refusals, documentation."""

from __future__ import annotations

import ctypes
import doctest
import inspect
from math import sqrt

import ml_dtypes
import numpy as np
import pytest
from scipy import stats

import fastopt.init
from fastopt import init
from fastopt.backends import load_kernel
from fastopt.coefficients import random as random_scalars
from tests.cuda.support import Exported
from tests.docs.test_pages import entries
from tests.peers import peer
from tests.support import assert_same_bits, cpus

FUNCTIONS = [getattr(init, name) for name in init.__all__]
functions = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)

#: Numbers of a test of a distribution, and how improbable a result has to be to fail: seeds are fixed.
MANY, LEAST_P = 200_000, 1e-3


# ---- Distributions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
@pytest.mark.parametrize(
    ("fill", "distribution"),
    [
        (lambda param, **key: init.normal_(param, mean=-3.0, std=0.5, **key), stats.norm(-3.0, 0.5)),
        (
            lambda param, **key: init.truncated_normal_(param, mean=1.0, std=0.5, **key),
            stats.truncnorm(-2.0, 2.0, 1.0, 0.5),
        ),
        (
            lambda param, **key: init.truncated_normal_(param, std=1.0, bound=0.3, **key),
            stats.truncnorm(-0.3, 0.3),
        ),
        (lambda param, **key: init.uniform_(param, low=-1.0, high=3.0, **key), stats.uniform(-1.0, 4.0)),
    ],
    ids=["normal", "truncated", "narrow", "uniform"],
)
def test_distributions(fill, distribution, seed, dtype):
    """Kolmogorov and Smirnov's test, and moments within five of their standard errors."""
    param = np.empty(MANY, dtype)
    fill(param, seed=seed)
    assert stats.kstest(param, distribution.cdf).pvalue > LEAST_P
    mean, variance, _, kurtosis = distribution.stats("mvsk")
    assert abs(param.mean(dtype="f8") - mean) < 5 * sqrt(variance / MANY)
    assert abs(param.var(dtype="f8") / variance - 1) < 5 * sqrt((kurtosis + 2) / MANY)
    assert abs(stats.skew(param.astype("f8"))) < 5 * sqrt(15 / MANY)


def test_neighbours_and_streams_are_independent():
    one, two = np.empty(MANY, "f8"), np.empty(MANY, "f8")
    init.normal_(one, std=1.0, seed=3)
    init.normal_(two, std=1.0, seed=3, offset=1)
    for a, b in [(one, two), (one[1:], one[:-1]), (one[4:], one[:-4]), (one[2:], two[:-2])]:
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / sqrt(MANY)
        assert abs(np.corrcoef(a**2, b**2)[0, 1]) < 5 / sqrt(MANY)


@pytest.mark.ci
def test_tails():
    """Of 40 million, the largest are as far out as normal numbers are."""
    param = np.empty(40_000_000, "f4")
    init.normal_(param, std=1.0, seed=5)
    for bound in (3.0, 4.0, 5.0):
        for beyond in (np.count_nonzero(param > bound), np.count_nonzero(param < -bound)):
            expected = param.size * stats.norm.sf(bound)
            assert abs(beyond - expected) < 5 * sqrt(expected)
    assert abs(param).max() > 5.0


def test_truncation_is_not_clipping():
    """The outermost values are as rare as their neighbours."""
    param = np.empty(1_000_000, "f4")
    init.truncated_normal_(param, std=1.0, bound=1.0, seed=1)
    outermost, next_to_it = (np.count_nonzero((abs(param) > a) & (abs(param) <= a + 0.001)) for a in (0.999, 0.998))
    assert 0.8 < outermost / next_to_it < 1.25


@pytest.mark.parametrize("number", [int, np.float32, np.float64, np.int64, np.array])
def test_numbers_of_any_kind(number):
    calls = [
        lambda param, one, **key: init.normal_(param, mean=one, std=one, **key),
        lambda param, one, **key: init.truncated_normal_(param, mean=one, std=one, bound=one, **key),
        lambda param, one, **key: init.uniform_(param, low=-one, high=one, **key),
    ]
    for fill in calls:
        got, wanted = np.zeros(100, "f4"), np.zeros(100, "f4")
        fill(got, number(1), seed=1)
        fill(wanted, 1.0, seed=1)
        assert (got == wanted).all()


DTYPES = [np.dtype(dtype) for dtype in ("float16", ml_dtypes.bfloat16, "float32", "float64")]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)

#: Limits that 16 bits can store and others, near 0 and far from it, and those where the sum in float32 rounds up.
LIMITS = [
    (0.0, 1.0), (0.9, 1.1), (-1.0, 1.0), (0.1, 0.7), (-1e-3, 0.0), (-3.0, -2.9), (1000.0, 1033.0), (-32.6, -1.9),
    (-256.2493742228411, -0.8730342904835259), (1 - 2.0**-20, 1 + 2.0**-6),
]  # fmt: skip
every_limit = pytest.mark.parametrize(("low", "high"), LIMITS)


def assert_within(param, low, high, *, below):
    """Exactly, and as NumPy compares: with the limit as param's type has it."""
    wide = param.astype(np.float64)
    assert wide.min() >= low
    assert param.min() >= param.dtype.type(low)
    assert (wide.max() < high) if below else (wide.max() <= high)
    if below:
        assert param.max() < param.dtype.type(high)


@every_limit
@every_dtype
def test_uniform_numbers_are_from_low_to_below_high(low, high, dtype):
    params = {backend: np.empty(1 << 18, dtype) for backend in ("cython", "numba", "reference")}
    for backend, param in params.items():
        init.uniform_(param, low=low, high=high, seed=0, backend=backend)
        assert_within(param, low, high, below=True)
    assert_same_bits({"param": params["numba"]}, {"param": params["cython"]})


@pytest.mark.ci
@pytest.mark.parametrize(("low", "high"), LIMITS[:3] + LIMITS[-2:])
@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_uniform_numbers_of_all_bits(low, high, dtype):
    """Of each of the 2^24 numbers that there are, those within the limits are the formula's, rounded."""
    bits = np.arange(1 << 24, dtype=np.uint32) << 8
    scalars = np.array(random_scalars.uniform(str(dtype), low, high), np.float32)
    drawn = np.empty(bits.size, np.float32)
    address = load_kernel("cython", "random", "uniform_float32", "float32")
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)(address)
    kernel((ctypes.c_void_p * 2)(drawn.ctypes.data, bits.ctypes.data), bits.size, scalars.ctypes.data)
    got = drawn.astype(dtype)
    assert_within(got, low, high, below=True)
    formula = (scalars[0] + scalars[1] * ((bits >> 8).astype(np.float32) * scalars[2])).astype(dtype)
    wide = formula.astype(np.float64)
    inside = (wide >= low) & (wide < high) & (formula < dtype.type(high))
    assert inside.mean() > 0.5 or np.unique(got).size < 5
    assert np.array_equal(got[inside], formula[inside])
    assert set(got[~inside].tolist()) <= {got.min().item(), got.max().item()}


@every_dtype
@pytest.mark.parametrize(
    ("mean", "std", "bound"), [(0.0, 1.0, 2.0), (0.9, 0.1, 1.0), (1.0, 1e-3, 0.7), (-5.0, 2.0, 3.3)]
)
def test_truncated_normal_numbers_are_within_the_bound(mean, std, bound, dtype):
    param = np.empty(1 << 20, dtype)
    for backend, elements in (("cython", param.size), ("numba", param.size), ("reference", 1 << 12)):
        some = param[:elements]
        init.truncated_normal_(some, mean=mean, std=std, bound=bound, seed=3, backend=backend)
        assert_within(some, mean - bound * std, mean + bound * std, below=False)


@every_dtype
@pytest.mark.parametrize("function", [init.xavier_uniform_, init.he_uniform_], ids=lambda f: f.__name__)
def test_scaled_uniform_numbers_are_below_the_limit(function, dtype):
    for fan in (3, 64, 100):
        param = np.empty(1 << 20, dtype)
        function(param, fan_in=fan, seed=2, **({"fan_out": fan} if "xavier" in function.__name__ else {}))
        limit = sqrt(3) * sqrt((2 if "he" in function.__name__ else 1) / fan)
        assert_within(param, -limit, limit, below=True)


def test_limits_with_few_numbers_between_them():
    """None: low, rounded. One: all are that one. And what float16 can't hold is its largest number."""
    param = np.empty(1000, np.float16)
    for low, high, wanted in [
        (1.0001, 1.0002, 1.0),
        (0.1, 0.1, 0.1),
        (0.9997, 1.0001, 1.0),
        (0.9997, 1.0, 0.9997),
        (1e5, 1e6, np.inf),
    ]:
        init.uniform_(param, low=low, high=high, seed=1)
        assert np.all(param == np.float16(wanted))
    init.uniform_(param, low=6e4, high=1e6, seed=1)
    assert param.max() < np.inf
    init.truncated_normal_(param, mean=0.1, std=1e-9, seed=1)
    assert np.all(param == np.float16(0.1))


@every_dtype
def test_limits_around_the_least_numbers(dtype):
    """Numbers that count as 0 are not below 0, nor are they above."""
    least = 2.0**-24 if dtype == np.float16 else float(ml_dtypes.finfo(dtype).tiny)
    for low, high in [(-least, 0.0), (-4 * least, 0.0), (least / 4, 4 * least), (-least / 4, least)]:
        param = np.empty(10_000, dtype)
        init.uniform_(param, low=low, high=high, seed=1)
        assert_within(param, low, high, below=True)


def test_a_std_of_0_gives_the_mean():
    param = np.empty(1000, "f4")
    init.normal_(param, mean=0.25, std=0.0, seed=1)
    assert (param == 0.25).all()
    init.uniform_(param, low=0.5, high=0.5, seed=1)
    assert (param == 0.5).all()


# ---- Fans

#: Shape, layout, fan_in, fan_out.
FANS = [
    ((30, 20), "torch", 20, 30),
    ((30, 20), "keras", 30, 20),
    ((30, 20, 3, 5), "torch", 300, 450),
    ((3, 5, 20, 30), "keras", 300, 450),
    ((7, 20, 30), "keras", 140, 210),
]
#: Each function, and the variance of what it makes.
VARIANCES = {
    "lecun_normal_": lambda fan_in, fan_out: 1 / fan_in,
    "he_normal_": lambda fan_in, fan_out: 2 / fan_in,
    "he_uniform_": lambda fan_in, fan_out: 2 / fan_in,
    "xavier_normal_": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "xavier_uniform_": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
}
SCALED = [getattr(init, name) for name in VARIANCES]
scaled = pytest.mark.parametrize("function", SCALED, ids=lambda function: function.__name__)


def expected(function, shape, variance, seed=9):
    """What the distribution's own function makes of a variance."""
    param = np.empty(shape, "f4")
    if "uniform" in function.__name__:
        init.uniform_(param, low=-sqrt(3) * sqrt(variance), high=sqrt(3) * sqrt(variance), seed=seed)
    else:
        init.normal_(param, std=sqrt(variance), seed=seed)
    return param


@pytest.mark.parametrize(("shape", "layout", "fan_in", "fan_out"), FANS)
@scaled
def test_fans(function, shape, layout, fan_in, fan_out):
    param = np.empty(shape, "f4")
    function(param, layout=layout, seed=9)
    assert (param == expected(function, shape, VARIANCES[function.__name__](fan_in, fan_out))).all()
    if layout == "torch":
        default = np.empty(shape, "f4")
        function(default, seed=9)
        assert (default == param).all()


@scaled
def test_fans_that_are_given(function):
    param = np.empty(50, "f4")
    given = {"fan_in": 16, "fan_out": 48} if "xavier" in function.__name__ else {"fan_in": 16}
    function(param, **given, seed=9)
    assert (param == expected(function, 50, VARIANCES[function.__name__](16, 48))).all()


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(30, 20), (30, 20, 3, 5), (7, 20, 30)])
@scaled
def test_pytorch_has_the_same_scale(function, shape):
    """Of as many numbers, the standard deviations are near, and so are the largest."""
    torch = peer("torch")
    name = function.__name__.replace("he_", "kaiming_")
    options = {"nonlinearity": "linear" if "lecun" in name else "relu"} if "xavier" not in name else {}
    theirs = torch.empty(400, *shape[1:]) if "xavier" not in name else torch.empty(shape)
    param = np.empty(tuple(theirs.shape), "f4")
    torch.manual_seed(0)
    getattr(torch.nn.init, name.replace("lecun_", "kaiming_"))(theirs, **options)
    function(param, seed=1)
    assert abs(param.std() / theirs.numpy().std() - 1) < 7 / sqrt(2 * param.size)
    assert abs(abs(param).max() / abs(theirs.numpy()).max() - 1) < 0.4


@pytest.mark.parametrize("function", [init.xavier_normal_, init.xavier_uniform_], ids=lambda f: f.__name__)
def test_xavier_by_fan_in(function):
    param = np.empty((30, 20), "f4")
    function(param, mode="fan_in", seed=9)
    assert (param == expected(function, (30, 20), 1 / 20)).all()


# ---- Refusals


def refused(function, param, error, message, **options):
    before = param.tobytes() if isinstance(param, np.ndarray) else None
    with pytest.raises(error, match=message):
        function(param, **{"seed": 1, **options})
    assert before is None or param.tobytes() == before


@pytest.mark.parametrize(
    ("function", "options", "error", "message"),
    [
        (init.normal_, {"std": -0.1}, ValueError, "std is -0.1; expected a finite number, 0 or more"),
        (init.normal_, {"std": np.nan}, ValueError, "std is nan; expected"),
        (init.normal_, {"std": 1e39}, ValueError, r"std is 1e\+39; expected a number that is finite in float32"),
        (init.normal_, {"mean": np.inf}, ValueError, "mean is inf; expected a finite number"),
        (init.normal_, {"mean": "0"}, TypeError, "mean is '0', a str; expected"),
        (init.normal_, {"seed": -1}, ValueError, "seed is -1; expected a whole number from 0 to"),
        (init.normal_, {"seed": 2**64}, ValueError, "seed is 18446744073709551616; expected"),
        (init.normal_, {"seed": 1.0}, TypeError, "seed is 1.0, a float; expected a whole number"),
        (init.normal_, {"seed": None}, TypeError, "seed is None, a NoneType; expected a whole number"),
        (init.normal_, {"seed": True}, TypeError, "seed is True, a bool; expected"),
        (init.normal_, {"offset": -1}, ValueError, "offset is -1; expected a whole number from 0 to"),
        (init.normal_, {"offset": 2**56}, ValueError, "offset is 72057594037927936; expected"),
        (init.normal_, {"backend": "fortran"}, ValueError, "backend is 'fortran'; expected None or one of"),
        (init.normal_, {"backend": 3}, TypeError, "backend is 3, a int; expected None or a string"),
        (init.normal_, {"num_threads": 0}, ValueError, "num_threads is 0; expected"),
        (init.truncated_normal_, {"bound": 0.0}, ValueError, "bound is 0.0; expected a finite number above 0"),
        (init.truncated_normal_, {"bound": np.inf}, ValueError, "bound is inf; expected"),
        (init.uniform_, {"low": 1.0, "high": 0.0}, ValueError, "high is 0.0; expected 1.0 or more, the value of low"),
        (init.uniform_, {"low": -1e308, "high": 1e308}, ValueError, "expected a number that is finite in float32"),
        (init.uniform_, {"low": -3e38, "high": 3e38}, ValueError, "expected a number that is finite in float32"),
        (init.he_normal_, {}, ValueError, r"param has shape \(8,\); expected two axes or more, or fan_in to be given"),
        (init.he_normal_, {"fan_in": 0}, ValueError, "fan_in is 0; expected None or a whole number, 1 or more"),
        (init.he_normal_, {"fan_in": 2.0}, TypeError, "fan_in is 2.0, a float; expected"),
        (init.he_normal_, {"layout": "tf"}, ValueError, "layout is 'tf'; expected 'torch' or 'keras'"),
        (init.xavier_normal_, {"fan_in": 2}, ValueError, "or fan_out to be given"),
        (init.xavier_normal_, {"mode": "fan_out"}, ValueError, "mode is 'fan_out'; expected 'average' or 'fan_in'"),
        (
            init.xavier_normal_,
            {"mode": "fan_in", "fan_in": 2, "fan_out": 3},
            ValueError,
            "fan_out is 3; expected None, because mode is 'fan_in'",
        ),
    ],
)
def test_bad_numbers(function, options, error, message):
    refused(function, np.ones(8, "f4"), error, message, **options)


@functions
def test_device_arrays(function):
    """By those backends that run on the host; tests/cuda has the rest."""
    for backend in ("cython", "numba", "reference"):
        message = f"^backend is '{backend}'; expected None or 'cuda', since param is on a CUDA device"
        refused(function, Exported(np.ones((3, 4), "f4")), ValueError, message, backend=backend)
    refused(function, np.ones((3, 4), "f4"), ValueError, "^stream is 5; expected None, since param", stream=5)


@functions
def test_empty_arrays(function):
    for shape in [(0, 3), (3, 0), (0, 0, 5)]:
        function(np.empty(shape, "f4"), seed=1)


def test_more_threads_than_elements():
    with cpus(7):
        param = np.empty(3, "f4")
        init.normal_(param, seed=1, num_threads=7)


# ---- Documentation


@functions
def test_documentation(function):
    """Each parameter is documented, in order; and the example gives what it says."""
    doc = inspect.getdoc(function)
    section = doc.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    assert list(entries(section)) == list(inspect.signature(function).parameters)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_example_of_the_package():
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(fastopt.init), {}, "init", None, None)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("limits", [(-1e-39, 1e-39), (0, 1e-44), (-1.7e38, 1.7e38)], ids=str)
def test_numpys_error_handling_is_nothing_to_fastopt(limits):
    """Numbers are rounded on the host, by NumPy, before anything is drawn."""
    kept, strict = np.full((2, 8), np.nan, np.float32)
    init.uniform_(kept, low=limits[0], high=limits[1], seed=1)
    with np.errstate(all="raise"):
        init.uniform_(strict, low=limits[0], high=limits[1], seed=1)
    assert (kept == strict).all()
