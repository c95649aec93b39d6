"""Gradients of norms: finite differences in float64, whatever the layout of each array."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastopt
from tests.norm_cases import CASES, EXTREMES, NormCase
from tests.support import LAYOUTS, Arrays, assert_same_bits, copies

# Each has its own memory order of x, dy and dx.
TRIPLES = list(itertools.product(LAYOUTS, repeat=3))


def slopes(case: NormCase, arrays: Arrays, name: str, step: float = 1e-6) -> np.ndarray:
    """Return the derivatives of sum(y * dy) by each element of an array, from both of its sides."""
    slope = np.empty_like(arrays[name])
    for place in np.ndindex(slope.shape):
        sides = []
        for shift in (step, -step):
            moved = copies(arrays)
            moved[name][place] += shift
            sides.append(np.sum(case.forward(moved)["y"] * arrays["dy"]))
        slope[place] = (sides[0] - sides[1]) / (2 * step)
    return slope


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_are_slopes(case):
    for shape in ((3, 4, 2, 3), (5, 6)):
        arrays = case.make_arrays(shape, "float64")
        made = case.run(copies(arrays))
        for name in ("x", "weight", "bias", *(["residual"] if case.residual else [])):
            # Differences lose 1e-16 / 1e-6 of y; relu's bend lies far enough from every y.
            np.testing.assert_allclose(made[f"d{name}"], slopes(case, arrays, name), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("case", EXTREMES, ids=lambda case: case.name)
def test_every_triple_of_layouts_gives_the_same_gradients(case):
    """PyTorch's fused CPU paths have taken one array's strides for another's."""
    arrays = case.make_arrays((3, 4, 5, 6), "float64")
    made = case.forward(arrays)
    wanted = case.backward(arrays, made)
    for of_x, of_dy, of_dx in TRIPLES:
        given = arrays | {"x": of_x(arrays["x"]), "dy": of_dy(arrays["dy"])}
        out = of_dx(np.full_like(arrays["x"], np.nan))
        got = case.backward(given, made, out=(out, *(None,) * (len(wanted) - 1)))
        assert got["dx"] is out
        assert_same_bits(got, wanted, f"x {of_x.__name__}, dy {of_dy.__name__}, dx {of_dx.__name__}")


@pytest.mark.parametrize("case", [case for case in CASES if not case.inference], ids=lambda case: case.name)
def test_what_normalisation_undoes_has_no_gradient(case):
    """A shift of a set, and (but for eps) its stretch: sum(dx) and sum(dx * x_hat) are 0."""
    arrays = case.make_arrays((5, 6, 7, 8), "float64")
    dx = case.run(arrays)["dx"]
    x_hat = case.forward({"x": arrays["x"]}, activation=None)["y"]
    if case.norm == "layer":
        axes = tuple(range(case.axis % dx.ndim, dx.ndim))
    else:
        axes = tuple(axis for axis in range(dx.ndim) if axis != case.axis % dx.ndim and (axis or case.norm == "batch"))
    if case.norm == "group":
        axes = tuple(range(1, dx.ndim))  # all groups of a sample
    np.testing.assert_allclose(dx.sum(axes), 0, atol=1e-11)
    np.testing.assert_allclose((dx * x_hat).sum(axes), 0, atol=1e-2)


def test_the_residuals_gradient_is_that_of_y_before_relu():
    x, residual = np.random.default_rng(0).standard_normal((2, 6, 3))
    y, mean, rstd = fastopt.batch_norm_forward(x, residual=residual, activation="relu")
    dy = np.random.default_rng(1).standard_normal((6, 3))
    *_, dresidual = fastopt.batch_norm_backward(dy, x, None, mean, rstd, y=y, activation="relu", residual=True)
    np.testing.assert_array_equal(dresidual, np.where(y > 0, dy, 0))
    *_, dresidual = fastopt.batch_norm_backward(dy, x, None, mean, rstd, residual=True)
    np.testing.assert_array_equal(dresidual, dy)
