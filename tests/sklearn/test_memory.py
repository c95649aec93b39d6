"""What a call allocates and what it writes to: one result, nothing else of X's size, and X only with ``copy=False``."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from tests.peers import peer

ours = peer("fastopt.sklearn")

pytestmark = pytest.mark.peers

ESTIMATORS = [getattr(ours, name) for name in ours.__all__]
OF_ONE_PASS = [kind for kind in ESTIMATORS if kind is not ours.Whitener]

#: What a call may allocate besides: blocks of a weighted fit or of whitening, and the smaller arrays.
SMALL = 8 << 20

every_kind = pytest.mark.parametrize("kind", ESTIMATORS, ids=lambda kind: kind.__name__)


def data(dtype="float32", missing=False):
    x = np.random.default_rng(0).standard_normal((1_000_000, 16), dtype="float32").astype(dtype)
    if missing:
        x[::1000, 3] = np.nan
    return x


def peak(function):
    """Return what a function returns, and the most bytes that were allocated at any time of it."""
    gc.collect()
    tracemalloc.start()
    try:
        returned = function()
        return returned, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("missing", [False, True], ids=["", "NaN"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", OF_ONE_PASS, ids=lambda kind: kind.__name__)
def test_copies(kind, order, missing):
    x = np.asarray(data(missing=missing), order=order)
    scaler = kind()
    _, of_fit = peak(lambda: scaler.fit(x))
    assert of_fit < SMALL
    made, of_transform = peak(lambda: scaler.transform(x))
    assert of_transform < x.nbytes + SMALL
    assert made.flags[f"{order}_CONTIGUOUS"]
    _, of_inverse = peak(lambda: scaler.inverse_transform(x))
    assert of_inverse < x.nbytes + SMALL
    scaler.set_params(copy=False)
    returned, in_place = peak(lambda: scaler.transform(x))
    assert in_place < SMALL
    assert returned is x or np.shares_memory(returned, x)
    assert np.array_equal(x, made, equal_nan=True)


@pytest.mark.parametrize("kind", [ours.MinMaxScaler, ours.MaxAbsScaler], ids=lambda kind: kind.__name__)
def test_clipping(kind):
    x = data()
    scaler = kind(clip=True).fit(x[:1000])
    made, of_transform = peak(lambda: scaler.transform(x))
    assert of_transform < x.nbytes + SMALL
    assert abs(made).max() == 1


def test_whitening():
    x = data()
    scaler = ours.Whitener()
    assert peak(lambda: scaler.fit(x))[1] < 2 * SMALL
    assert peak(lambda: scaler.transform(x))[1] < x.nbytes + 2 * SMALL
    scaler.set_params(copy=False)
    assert peak(lambda: scaler.transform(x))[1] < 2 * SMALL


def test_weights():
    x = data()
    weights = np.random.default_rng(0).random(len(x))
    assert peak(lambda: ours.StandardScaler().fit(x, sample_weight=weights))[1] < SMALL + 3 * weights.nbytes


@every_kind
def test_converted_input_is_written_to(kind):
    """Integers become floats in a copy, which is the result."""
    x = np.random.default_rng(0).integers(0, 100, (200_000, 16))
    scaler = kind().fit(x[:1000])
    kept = x.copy()
    _, of_transform = peak(lambda: scaler.transform(x))
    assert of_transform < x.size * 8 + 2 * SMALL
    assert np.array_equal(x, kept)


@every_kind
def test_read_only_input(kind):
    x = data()[:1000]
    kept = x.copy()
    x.flags.writeable = False
    for copy in (True, False):
        made = kind(copy=copy).fit(x).transform(x)
        assert not np.shares_memory(made, x)
        assert np.array_equal(x, kept)


def test_copy_of_a_call():
    x = data()[:1000]
    scaler = ours.StandardScaler().fit(x)
    kept = x.copy()
    made = scaler.transform(x)
    assert np.array_equal(x, kept)
    assert np.array_equal(scaler.transform(x, copy=False), made)
    assert np.array_equal(x, made)
    scaler.inverse_transform(x, copy=False)
    assert np.allclose(x, kept, atol=1e-6)
