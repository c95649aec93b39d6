"""Feature scaling: the same bits for all threads, layouts, instruction sets, backends and positions."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from fastopt.rules import scaling as scaling_rules
from fastopt.scaling import MaxAbsScaler, MeanNormalizer, MinMaxScaler, StandardScaler
from tests.support import LAYOUTS, assert_same_bits

DTYPES = ["float32", "float64", "float16"]

#: Parts of samples, of which there is more than one, and stripes of features; rows that are joined, and long ones.
SHAPES = [(1, 1), (9, 5), (70_001, 3), (4100, 70), (2049, 1), (300, 1000), (7, 70_000), (40_000, 8)]


def data(shape, dtype, nan=True):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * 3 + rng.standard_normal(shape[1])).astype(dtype)
    x[:, ::3] = x[:, ::3].round()
    x.flat[::7] = -x.flat[::7]
    if nan:
        x.flat[5 :: x.size // 3 + 6] = np.nan
    return x


def results(x, **options):
    """All that is gathered of x, and what is made of it, in place."""
    made = {}
    for kind in (StandardScaler, MinMaxScaler, MeanNormalizer, MaxAbsScaler):
        scaler = kind(nan="ignore", **options).fit(x)
        y = x.copy(order="K")
        scaler.transform_(y)
        made[kind.__name__] = y.copy()
        scaler.inverse_transform_(y)
        made[f"back from {kind.__name__}"] = y
        made |= {f"{kind.__name__}'s {name}": value for name, value in vars(scaler._statistics).items()}
    return made


@pytest.mark.parametrize("dtype", DTYPES)
def test_backends(dtype):
    for shape in [(1, 1), (9, 5), (2500, 3), (100, 70), (7, 3000)]:
        for order in ("C", "F"):
            x = np.array(data(shape, dtype), order=order)
            assert_same_bits(results(x, backend="numba"), results(x, backend="cython"), f"{shape}, {order}")
    for layout in LAYOUTS:
        for shape in [(1, 1), (1, 9), (9, 1), (37, 11)]:
            x = layout(data(shape, dtype))
            made = [StandardScaler(nan="ignore", backend=backend).fit(x) for backend in ("numba", "cython")]
            assert_same_bits(*({**vars(each._statistics), "y": each.transform(x)} for each in made), layout.__name__)
    with pytest.raises(ValueError, match="x has a NaN in feature 0, sample 7"):
        StandardScaler(backend="numba").fit(x := np.ones((9, 2))).transform(
            np.where(np.arange(9)[:, None] == 7, np.nan, x)
        )


def test_places():
    """A row's results do not depend on the rows around it, and a column's not on the columns."""
    x = data((4100, 70), "float32", nan=False)
    scaler = StandardScaler().fit(x)
    whole = scaler.transform(x)
    for rows in (slice(0, 1), slice(3, 50), slice(4000, None), slice(None, None, -3)):
        assert_same_bits({"y": scaler.transform(x[rows])}, {"y": whole[rows]})
    for columns in (slice(0, 1), slice(3, 50), slice(None, None, -1)):
        part = StandardScaler().fit(x[:, columns])
        assert_same_bits(
            {"var": part.var, "y": part.transform(x[:, columns])}, {"var": scaler.var[columns], "y": whole[:, columns]}
        )


def test_the_callers_floating_point_mode_is_left_alone():
    """Subnormal numbers are computed with before and after, and count as zeros within."""
    tiny = np.float32(1e-40)
    x = np.full((70_000, 2), tiny)
    x[:, 1] = 1
    x[0, 1] = 2
    scaler = MinMaxScaler().fit(x)
    assert np.float32(tiny) * 2 > tiny
    assert scaler.max[0] == scaler.min[0] == 0


# ---- The kernels


def test_rules_have_no_numbers():
    source = inspect.getsource(scaling_rules)
    code = source.split('"""', 2)[2]
    lines = [line for line in code.splitlines() if not line.startswith("#")]
    assert not any(character.isdigit() for character in "".join(lines))
