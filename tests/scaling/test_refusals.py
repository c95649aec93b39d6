"""Feature scaling: bad input raises a named error, and buffers and scaler are unchanged."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest

import fastopt
from fastopt.scaling import MaxAbsScaler, MeanNormalizer, MinMaxScaler, NotFittedError, StandardScaler, Whitener

KINDS = [MinMaxScaler, MeanNormalizer, StandardScaler, MaxAbsScaler, Whitener]

kinds = pytest.mark.parametrize("kind", KINDS)


def data(samples=6, features=3):
    return np.random.default_rng(0).standard_normal((samples, features))


def misaligned(values):
    memory = np.zeros(values.nbytes + 1, "u1")[1:].view("f8").reshape(values.shape)
    memory[...] = values
    return memory


#: What is given as x, the error, and what its message says.
REFUSED = {
    "none": (lambda x: None, TypeError, "x is None"),
    "list": (lambda x: x.tolist(), TypeError, "x is a list"),
    "number": (lambda x: 1.0, TypeError, "x is a float"),
    "integers": (lambda x: x.astype(int), TypeError, "x has dtype int64"),
    "booleans": (lambda x: x > 0, TypeError, "x has dtype bool"),
    "complex": (lambda x: x + 0j, TypeError, "x has dtype complex128"),
    "long double": (lambda x: x.astype("longdouble"), TypeError, "x has dtype"),
    "byte order": (lambda x: x.astype(">f8"), TypeError, "x has dtype >f8, of foreign byte order"),
    "masked": (lambda x: np.ma.masked_less(x, 0), TypeError, "x is a masked array"),
    "one axis": (lambda x: x[0], ValueError, r"x has shape \(3,\); expected two axes"),
    "three axes": (lambda x: x[None], ValueError, r"x has shape \(1, 6, 3\); expected two axes"),
    "misaligned": (misaligned, ValueError, "x is misaligned"),
    "features": (lambda x: x[:, :2], ValueError, "x has 2 features; expected 3, as many as were fitted"),
}
WRITTEN = {
    "read-only": (lambda x: np.frombuffer(x.tobytes()).reshape(x.shape), TypeError, "x is read-only"),
    "stride 0": (
        lambda x: np.lib.stride_tricks.as_strided(x, x.shape, (0, 8)),
        ValueError,
        "x overlaps itself",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@kinds
def test_bad_arrays(kind, case):
    make, error, message = REFUSED[case]
    scaler = kind().fit(data())
    before, x = pickle.dumps(scaler), make(data())
    kept = pickle.dumps(x)
    calls = [
        scaler.partial_fit,
        scaler.transform_,
        scaler.inverse_transform_,
        scaler.transform,
        scaler.inverse_transform,
    ]
    for call in calls if case == "features" else [scaler.fit, *calls]:
        with pytest.raises(error, match=message):
            call(x)
    assert pickle.dumps(scaler) == before
    assert pickle.dumps(x) == kept


@pytest.mark.parametrize("case", WRITTEN)
@kinds
def test_bad_targets(kind, case):
    make, error, message = WRITTEN[case]
    scaler, x = kind().fit(data()), make(data())
    for call in (scaler.transform_, scaler.inverse_transform_):
        with pytest.raises(error, match=message):
            call(x)
    for call in (scaler.transform, scaler.inverse_transform):
        with pytest.raises(error, match=message.replace("x", "out", 1)):
            call(data(), x)


@kinds
def test_bad_outs(kind):
    x = data()
    scaler, memory = kind().fit(x), np.ones((8, 3))
    memory[:6] = x
    for out, error, message in (
        (np.ones((6, 2)), ValueError, r"out has shape \(6, 2\); expected \(6, 3\)"),
        (np.ones((6, 3), int), TypeError, "out has dtype int64"),
        ([], TypeError, "out is a list"),
        (memory[1:7], ValueError, "out overlaps x in memory"),
        (memory[5::-1], ValueError, "out overlaps x in memory"),
    ):
        kept = pickle.dumps(out)
        with pytest.raises(error, match=message):
            scaler.transform(memory[:6], out)
        assert pickle.dumps(out) == kept
    for same in (x, x[:]):  # in place, after all
        y = scaler.transform(x)
        assert scaler.transform(x, same) is same
        assert np.array_equal(x, y)


@kinds
def test_outs_that_are_x(kind):
    """The same elements, though by another view: x may be read-only; one row may have any stride."""
    x = data()
    scaler = kind().fit(x)
    y = scaler.transform(x)
    read = x[:]
    read.flags.writeable = False
    assert scaler.transform(read, x) is x
    assert np.array_equal(x, y)
    x = data()
    y = scaler.transform(x[:1])  # by itself: BLAS, which whitens, may round a row of several in another way
    row = np.lib.stride_tricks.as_strided(x, (1, 3), (72, 8))
    assert scaler.transform(x[:1], row) is row
    assert np.array_equal(x[:1], y)


@kinds
def test_empty_batches(kind):
    scaler = kind().fit(data())
    before = pickle.dumps(scaler)
    for call in (scaler.fit, scaler.partial_fit):
        with pytest.raises(ValueError, match=r"x has shape \(0, 3\); expected at least one sample"):
            call(np.ones((0, 3)))
    assert pickle.dumps(scaler) == before
    scaler.transform_(np.ones((0, 3)))  # but there is nothing wrong with no results
    assert scaler.transform(np.ones((0, 3))).shape == (0, 3)


def test_no_features():
    for kind in KINDS:
        scaler = kind().fit(np.ones((4, 0)))
        assert scaler.transform(np.ones((5, 0))).shape == (5, 0)


@kinds
def test_unfitted(kind):
    scaler, x = kind(), data()
    before = x.copy()
    for call in (scaler.transform_, scaler.inverse_transform_, scaler.transform, scaler.inverse_transform):
        with pytest.raises(NotFittedError, match=f"this {kind.__name__} was not fitted"):
            call(x)
    for name in ("n_features", "mean", "count"):
        with pytest.raises(NotFittedError):
            getattr(scaler, name)
    with pytest.raises(NotFittedError, match="other is a"):
        kind().fit(x).merge(scaler)
    assert np.array_equal(x, before)


@kinds
def test_bad_merges(kind):
    scaler = kind().fit(data())
    before = pickle.dumps(scaler)
    for other in (None, scaler.state_dict(), next(each for each in KINDS if each is not kind)().fit(data())):
        with pytest.raises(TypeError, match=f"other is a .*; expected a {kind.__name__}"):
            scaler.merge(other)
    with pytest.raises(ValueError, match="other has 2 features; expected 3"):
        scaler.merge(kind().fit(data(4, 2)))
    assert pickle.dumps(scaler) == before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StandardScaler(nan="drop"), ValueError, "nan is 'drop'; expected 'refuse' or 'ignore'"),
        (lambda: StandardScaler(with_mean=1), TypeError, "with_mean is 1, a int"),
        (lambda: StandardScaler(with_std=None), TypeError, "with_std is None"),
        (lambda: StandardScaler(unbiased="yes"), TypeError, "unbiased is 'yes'"),
        (
            lambda: MinMaxScaler(feature_range=(1, 1)),
            ValueError,
            r"feature_range is \(1.0, 1.0\); expected lo below hi",
        ),
        (
            lambda: MinMaxScaler(feature_range=(0, np.inf)),
            ValueError,
            "feature_range has inf; expected a finite number",
        ),
        (lambda: MinMaxScaler(feature_range=(np.nan, 1)), ValueError, "feature_range has nan"),
        (lambda: MinMaxScaler(feature_range=("0", "1")), TypeError, "feature_range is '0'"),
        (lambda: MinMaxScaler(feature_range=1), TypeError, "feature_range is 1; expected two numbers"),
        (lambda: MinMaxScaler(feature_range=(0, 1, 2)), TypeError, "expected two numbers"),
        (lambda: Whitener(method="svd"), ValueError, "method is 'svd'; expected 'zca' or 'pca'"),
        (lambda: Whitener(eps=-1), ValueError, "eps is -1.0; expected a finite number, 0 or more"),
        (lambda: Whitener(n_components=0, method="pca"), ValueError, "n_components is 0"),
        (lambda: Whitener(n_components=1.5, method="pca"), TypeError, "n_components is 1.5"),
        (lambda: Whitener(n_components=2), ValueError, "n_components is 2; expected None with method='zca'"),
        (
            lambda: Whitener(n_components=4, method="pca").fit(data()).transform(data()),
            ValueError,
            "n_components is 4; expected at most 3",
        ),
        (lambda: StandardScaler(backend="fortran").fit(data()), ValueError, "backend is 'fortran'"),
        (lambda: StandardScaler(backend=1).fit(data()), TypeError, "backend is 1"),
        (lambda: StandardScaler(num_threads=0).fit(data()), ValueError, "num_threads"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=re.escape(message) if "(" in message and "\\" not in message else message):
        make()


class OnDevice:
    """Memory that is said to be a CUDA device's."""

    __cuda_array_interface__ = {  # noqa: RUF012
        "shape": (6, 3), "typestr": "<f4", "data": (1 << 20, False), "version": 3, "strides": None, "stream": None,
    }  # fmt: skip


@kinds
def test_device_arrays(kind):
    scaler = kind().fit(data())
    for call in (scaler.fit, scaler.partial_fit, scaler.transform_, scaler.transform):
        with pytest.raises(fastopt.BackendUnavailable):
            call(OnDevice())


@pytest.mark.parametrize(
    ("scaler", "largest", "said"),
    [
        (
            StandardScaler(),
            1e155,
            r"^feature 1 has values from -1e\+155 to 1e\+155, and squares of their dev",
        ),
        (
            StandardScaler(with_std=False),
            1e308,
            r"^feature 1 has values from -1e\+308 to 1e\+308, and their sums",
        ),
        (MeanNormalizer(), 1e308, "^feature 1 has values .*, and their sums overflow float64; expected smaller ones"),
        (
            Whitener(),
            1e155,
            "^the covariance of the fitted data is not finite in float64, because squares overflow",
        ),
    ],
)
@pytest.mark.parametrize("how", ["fit", "partial_fit", "merge"])
def test_sums_that_overflow_are_told_of(scaler, largest, said, how):
    x = np.array([[1.0, largest], [2.0, largest], [3.0, -largest], [5.0, 1.0]])
    if how == "fit":
        scaler.fit(x)
    elif how == "partial_fit":
        scaler.fit(x[:1]).partial_fit(x[1:])
    else:
        other = copy.copy(scaler).fit(x[1:])
        scaler.fit(x[:1]).merge(other)
    with pytest.raises(ValueError, match=said):
        scaler.transform(x)
    with pytest.raises(ValueError, match=said):
        scaler.inverse_transform(x)


def test_scalers_without_squares_take_what_has_none():
    x = np.array([[1e155], [-1e155], [0.0]])
    assert MinMaxScaler().fit(x).transform(x)[:, 0].tolist() == [1.0, 0.0, 0.5]
    assert MeanNormalizer().fit(x).transform(x)[:, 0].tolist() == [0.5, -0.5, 0.0]
    assert MaxAbsScaler().fit(x).transform(x)[:, 0].tolist() == [1.0, -1.0, 0.0]
    assert StandardScaler(with_std=False).fit(x).transform(x)[:, 0].tolist() == x[:, 0].tolist()


@pytest.mark.parametrize("kind", [MinMaxScaler, MeanNormalizer, StandardScaler, MaxAbsScaler, Whitener])
def test_options_are_checked_when_a_scaler_is_made(kind):
    refused = [("num_threads", 0, ValueError), ("num_threads", 2.0, TypeError)]
    if kind is not Whitener:
        refused += [("backend", "fortran", ValueError), ("backend", 3, TypeError), ("nan", "drop", ValueError)]
    for name, value, error in refused:
        with pytest.raises(error, match=f"^{name} is {value!r}.*; expected"):
            kind(**{name: value})
