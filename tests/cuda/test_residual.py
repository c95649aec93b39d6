"""Residual connections of device arrays: the same bits as on the CPU, new arrays, in place."""

from __future__ import annotations

import numpy as np
import pytest

import fastopt
from tests.cuda.support import BFLOAT16, on_device
from tests.cuda.test_norms import fetched, sent
from tests.support import LAYOUTS, assert_same_bits


def values(shape, dtype="f4"):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(dtype) for name in ("x", "residual", "dy")}


def both(arrays, activation, **options):
    """Forward and backward, by arrays of the host or of a device."""
    y = fastopt.residual_add(arrays["x"], arrays["residual"], activation=activation, **options)
    return {"y": y, "dx": fastopt.residual_add_backward(arrays["dy"], y=y, activation=activation)}


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 3, 2, 2)])
def test_the_bits_of_the_host(shape, dtype, activation):
    arrays = values(shape, dtype)
    got = {name: fetched(array) for name, array in both(sent(arrays), activation).items()}
    assert_same_bits(got, both(arrays, activation))


@pytest.mark.parametrize("first", LAYOUTS, ids=lambda layout: layout.__name__)
def test_any_layout(first):
    arrays = values((3, 4, 2))
    wanted = both(arrays, "relu")
    for second in LAYOUTS[:4]:
        given = {"x": first(arrays["x"]), "residual": second(arrays["residual"]), "dy": second(arrays["dy"])}
        assert_same_bits({name: fetched(array) for name, array in both(sent(given), "relu").items()}, wanted)


def test_bfloat16_into_an_array_of_the_callers():
    arrays = values((33,), BFLOAT16)
    out, wanted = np.zeros(33, BFLOAT16), np.zeros(33, BFLOAT16)
    fastopt.residual_add(on_device(arrays["x"]), on_device(arrays["residual"]), out=on_device(out))
    fastopt.residual_add(arrays["x"], arrays["residual"], out=wanted)
    assert_same_bits({"out": out}, {"out": wanted})


def test_in_place():
    arrays = values((40,))
    wanted = fastopt.residual_add(arrays["x"], arrays["residual"], activation="relu")
    there = sent(arrays)
    fastopt.residual_add(there["x"], there["residual"], activation="relu", out=there["x"])
    assert_same_bits({"x": arrays["x"]}, {"x": wanted})


def test_refusals():
    x = values((4,))["x"]
    with pytest.raises(ValueError, match="residual is in the host's memory; expected it on CUDA device 0, where x is"):
        fastopt.residual_add(on_device(x), x.copy())
    with pytest.raises(ValueError, match="backend is 'cython'; expected None or 'cuda', since dy is on a CUDA device"):
        fastopt.residual_add_backward(on_device(x), backend="cython")
    assert fastopt.residual_add_backward(dy := on_device(x)) is dy
