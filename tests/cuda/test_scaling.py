"""Feature scaling of device arrays: the same bits as on the CPU; new arrays, in place; NaN and refusals."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastopt
from fastopt.device.arrays import DeviceArray
from fastopt.scaling import MaxAbsScaler, MeanNormalizer, MinMaxScaler, StandardScaler, Whitener
from tests.cuda.support import BFLOAT16, Exported, OnDevice, on_device
from tests.cuda.test_norms import fetched, refused
from tests.scaling.test_same_bits import data
from tests.support import LAYOUTS, assert_same_bits

SCALERS = [MinMaxScaler, MeanNormalizer, StandardScaler, MaxAbsScaler]
scalers = pytest.mark.parametrize("kind", SCALERS)
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
dtypes = pytest.mark.parametrize("dtype", ["f4", "f8", "f2", BFLOAT16], ids=str)

#: Parts of samples, of which there are several, so that some are joined together and some are left; more features than
#: threads; one feature, one sample.
SHAPES = [(1, 1), (9, 5), (4, 3), (12_300, 3), (4100, 7), (2049, 1), (3, 30)]


def statistics(scaler):
    return vars(scaler._statistics)


def both(kind, x, there, what="", **options):
    """Fit and scale an array of the host, and one of a device, which is to have the same bits."""
    here, on = kind(**options).fit(x), kind(**options).fit(there)
    assert_same_bits(statistics(on), statistics(here), what)
    y, z = x.copy(order="K"), there
    for scaler, array in ((here, y), (on, z)):
        assert scaler.transform_(array) is None
    memory = there.memory
    assert_same_bits({"y": memory}, {"y": y}, what)
    for scaler, array in ((here, y), (on, z)):
        scaler.inverse_transform_(array)
    assert_same_bits({"x": memory}, {"x": y}, what)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@scalers
def test_shapes(kind, shape):
    for order in "CF":
        x = np.array(data(shape, "f4"), order=order)
        both(kind, x, OnDevice(x.copy(order="K")), order, nan="ignore")


@layouts
@dtypes
def test_layouts_and_dtypes(layout, dtype):
    for kind in SCALERS:
        for nan in ("ignore", "refuse"):
            x = layout(data((300, 5), dtype, nan == "ignore"))
            both(kind, x, on_device(layout(x.copy())), kind.__name__, nan=nan)


@layouts
def test_arrays_of_one_call_may_differ_in_layout_and_dtype(layout):
    x = data((70, 5), "f4")
    scaler = StandardScaler(nan="ignore").fit(x)
    for other in LAYOUTS:
        for dtype in ("f2", "f4", "f8"):
            y, wanted = other(np.zeros(x.shape, dtype)), np.zeros(x.shape, dtype)
            out = OnDevice(y)
            assert scaler.transform(OnDevice(layout(x.copy())), out) is out
            scaler.transform(x, wanted)
            assert_same_bits({"y": y}, {"y": wanted}, f"{other.__name__}, {dtype}")


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (1, 1), (7, 3), (300, 70)], ids=str)
def test_new_arrays(shape):
    for dtype in ("f2", "f4", "f8"):
        for order in "CF":
            x = np.array(data((301, shape[1]), dtype, nan=False) if shape[1] else np.ones((301, 0), dtype), order=order)
            scaler, x = StandardScaler().fit(x), np.array(x[: shape[0]], order=order)
            before = x.copy()
            y = scaler.transform(OnDevice(x))
            assert isinstance(y, DeviceArray)
            made, wanted = fetched(y), scaler.transform(x)
            assert (made.dtype, made.shape) == (wanted.dtype, wanted.shape)
            assert made.size == 0 or made.strides == wanted.strides
            assert_same_bits({"y": made, "x": x}, {"y": wanted, "x": before})
            assert_same_bits({"x": fetched(scaler.inverse_transform(y))}, {"x": scaler.inverse_transform(wanted)})


@scalers
def test_out_may_be_x(kind):
    x = data((40, 3), "f4", nan=False)
    scaler = kind().fit(x)
    wanted = scaler.transform(x)
    there = OnDevice(x)
    assert scaler.transform(there, there) is there
    assert_same_bits({"x": x}, {"x": wanted})


def test_x_may_be_read_only():
    x = data((40, 3), "f4", nan=False)
    x.flags.writeable = False
    scaler = MinMaxScaler().fit(OnDevice(x))
    assert_same_bits({"y": fetched(scaler.transform(OnDevice(x)))}, {"y": scaler.transform(x)})
    refused(TypeError, "x is read-only", scaler.transform_, OnDevice(x))


def test_batches_of_both_sides():
    x = data((5000, 4), "f8", nan=False)
    wanted, got = StandardScaler(), StandardScaler()
    for some in np.split(x, [100, 2300]):
        wanted.partial_fit(some)
    got.partial_fit(OnDevice(x[:100])).partial_fit(x[100:2300])
    got.merge(StandardScaler(backend="cuda").fit(OnDevice(x[2300:]), stream=7))
    assert_same_bits(statistics(got), statistics(wanted))
    assert pickle.loads(pickle.dumps(got)).transform(x).tobytes() == wanted.transform(x).tobytes()


def test_features_that_come_late_or_never():
    """Deviations are measured from a feature's first value."""
    late = 1e6 + np.arange(2100.0)[:, None] % 50
    late[:2060] = np.nan
    for x in (late, np.where(np.arange(3) == 1, np.nan, np.arange(12.0).reshape(4, 3)), late[2050:]):
        here, on = (StandardScaler(nan="ignore").fit(each) for each in (x, OnDevice(x)))
        assert_same_bits(statistics(on), statistics(here))


# ---- NaN and infinities


def test_nan_is_refused():
    x = data((9, 7), "f4", nan=False)
    scaler = StandardScaler().fit(x)
    before = pickle.dumps(scaler)
    for bad, what in ((np.nan, "a NaN"), (np.inf, "an infinity"), (-np.inf, "an infinity")):
        for layout in (np.ascontiguousarray, np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2]):
            y = layout(x.copy())
            y[8, 0] = y[6, 3] = y[6, 6] = bad
            there = OnDevice(y)
            for call in (scaler.fit, scaler.partial_fit, scaler.transform_, scaler.transform):
                refused(ValueError, f"x has {what} in feature 3, sample 6; expected finite", call, there)
            out = np.ones_like(y)
            refused(ValueError, f"x has {what} in feature 3", scaler.transform, there, OnDevice(out))
            assert (out == 1).all()
    assert pickle.dumps(scaler) == before


def test_infinities_are_refused_even_so():
    x = data((500, 3), "f4", nan=False)
    scaler = StandardScaler(nan="ignore").fit(x)
    x[421, 1] = np.inf
    refused(ValueError, "x has an infinity in feature 1; expected", scaler.fit, OnDevice(x))
    assert_same_bits({"y": fetched(scaler.transform(OnDevice(x)))}, {"y": scaler.transform(x)})


# ---- Refusals


def test_what_is_elsewhere():
    x, y = data((6, 3), "f4", nan=False), np.ones((6, 3), "f4")
    here, there = "in the host's memory", "on CUDA device"
    scaler = StandardScaler().fit(x)
    refused(ValueError, f"out is {here}; expected it {there} 0, where x is", scaler.transform, OnDevice(x), y)
    refused(ValueError, f"out is {there} 0; expected it {here}, where x is", scaler.transform, x, OnDevice(y))
    refused(ValueError, f"out is {there} 1; expected it {there} 0", scaler.transform, OnDevice(x), Exported(y, 1))
    for backend in ("numba", "cython", "reference"):
        on_host = StandardScaler(backend=backend)
        message = f"backend is {backend!r}; expected None or 'cuda', since x is on a CUDA device"
        refused(ValueError, message, on_host.fit, OnDevice(x))
    refused(ValueError, "backend is 'cuda'; expected another, since x", StandardScaler(backend="cuda").fit, x)
    for call in (scaler.fit, scaler.partial_fit, scaler.transform_, scaler.transform, scaler.inverse_transform):
        refused(ValueError, f"stream is 5; expected None, since x is {here}", call, x, stream=5)
        refused(TypeError, "stream is 'a', a str; expected", call, OnDevice(x), stream="a")
    scaler.transform_(OnDevice(x), stream=5)
    refused(TypeError, "stream is 'a', a str; expected", StandardScaler().fit, OnDevice(x[:, :0]), stream="a")
    assert (y == 1).all()


def test_checks_are_the_hosts():
    memory = np.ones(40, "f4")
    x = memory[:18].reshape(6, 3)
    scaler = StandardScaler().fit(data((6, 3), "f4", nan=False))
    refused(ValueError, "out overlaps x in memory", scaler.transform, OnDevice(x), OnDevice(memory[3:21].reshape(6, 3)))
    refused(
        ValueError, "out has shape (3, 6); expected (6, 3)", scaler.transform, OnDevice(x), OnDevice(x.reshape(3, 6))
    )
    refused(ValueError, "x has 2 features; expected 3", scaler.transform_, OnDevice(memory[:6].reshape(3, 2)))
    refused(ValueError, "expected two axes", scaler.transform_, OnDevice(memory))
    refused(ValueError, "expected at least one sample", scaler.fit, OnDevice(x[:0]))
    refused(TypeError, "x has dtype <i4", scaler.fit, OnDevice(x.view("i4")))
    refused(TypeError, "out is None; expected an array for it in out", scaler.transform, on_device(x.astype(BFLOAT16)))
    assert (memory == 1).all()


def test_whitening_is_the_hosts():
    x = data((6, 3), "f4", nan=False)
    whitener = Whitener().fit(x)
    for call in (whitener.fit, whitener.transform_, whitener.transform, whitener.inverse_transform):
        message = "x is on CUDA device 0; expected it in the host's memory, since whitening uses NumPy"
        refused(fastopt.BackendUnavailable, message, call, OnDevice(x))
        refused(ValueError, "stream is 5; expected None", call, x, stream=5)


def test_what_the_type_cannot_hold():
    x = np.array([[3e38], [-3e38]], "f4")
    scaler = MinMaxScaler().fit(OnDevice(x))
    refused(ValueError, "feature 0 would have a divisor of inf in float32", scaler.transform_, OnDevice(x))
    out = OnDevice(np.zeros((2, 1)))
    assert scaler.transform(OnDevice(x), out) is out
    assert out.memory.tolist() == [[1], [0]]
