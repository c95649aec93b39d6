"""Norms beside PyTorch's, forward and backward: every layout of each array, and running statistics over many batches.

``fastopt.reference.norm``, which the other tests trust, is held against the same.
"""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.reference import norm as norm_reference
from tests.norm_cases import ALONE, CASES, EPS, NormCase
from tests.norms.test_layouts import channels_last
from tests.peers import peer
from tests.support import Arrays, c_order, copies, f_order, reversed_axes, sliced

pytestmark = pytest.mark.peers

SHAPES = [(4, 6), (3, 6, 7), (3, 6, 7, 5), (2, 4, 3, 5, 2)]

# Relative to the largest value of a result: PyTorch and we round some sums of a few hundred terms in other places.
FLOAT64, FLOAT32 = 1e-12, 2e-5

LIBRARIES = {"fastopt": fastopt, "reference": norm_reference}
LAYOUTS = [c_order, channels_last, f_order, sliced, reversed_axes]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def torch() -> ModuleType:
    return peer("torch")


def tensors_of(torch: Any, arrays: Arrays) -> dict[str, Any]:
    """Return the arrays as tensors of the same strides; torch has no negative ones."""
    return {
        name: torch.from_numpy(array if all(stride >= 0 for stride in array.strides) else array.copy())
        for name, array in arrays.items()
    }


def torch_run(torch: Any, case: NormCase, arrays: Arrays) -> Arrays:
    """Return what PyTorch makes of the arrays, y and all gradients, by the names of ours; running ones are updated."""
    functional = torch.nn.functional
    t = tensors_of(torch, arrays)
    for name in ("x", "weight", "bias", "residual"):
        if name in t:
            t[name].requires_grad_(True)
    # PyTorch's channels are always those of axis 1.
    last = case.norm != "layer" and case.axis == -1
    x = t["x"].movedim(-1, 1) if last else t["x"]
    weight, bias = t["weight"], t["bias"]
    if case.norm == "batch":
        running = t["running_mean"], t["running_var"]
        y = functional.batch_norm(x, *running, weight, bias, not case.inference, momentum=0.25, eps=EPS)
    elif case.norm == "instance":
        y = functional.instance_norm(x, weight=weight, bias=bias, eps=EPS)
    elif case.norm == "group":
        y = functional.group_norm(x, case.options(arrays["x"])["groups"], weight, bias, EPS)
    else:
        y = functional.layer_norm(x, arrays["weight"].shape, weight, bias, EPS)
    y = y.movedim(1, -1) if last else y
    y = y + t["residual"] if case.residual else y
    y = torch.relu(y) if case.activation else y
    y.backward(t["dy"])
    made = {"y": y, "dx": t["x"].grad, "dweight": weight.grad, "dbias": bias.grad}
    if case.residual:
        made["dresidual"] = t["residual"].grad
    made |= {name: t[name] for name in case.updated}
    return {name: tensor.detach().numpy().copy() for name, tensor in made.items()}


def assert_same(got: Arrays, wanted: Arrays, tolerance: float, what: str) -> None:
    for name, values in wanted.items():
        deviation = np.abs(got[name] - values).max()
        assert deviation <= tolerance * max(1, np.abs(values).max()), f"{what}: {name} differs by {deviation}"


@pytest.mark.parametrize("library", LIBRARIES)
@every_case
def test_torch_float64(torch: ModuleType, case: NormCase, library: str) -> None:
    for shape in SHAPES:
        if case.norm == "instance" and len(shape) == 2:
            continue  # torch refuses sets of one value
        arrays = case.make_arrays(shape, "float64")
        wanted = torch_run(torch, case, copies(arrays))
        made = case.forward(arrays, LIBRARIES[library])
        assert_same(made | case.backward(arrays, made, LIBRARIES[library]), wanted, FLOAT64, str(shape))


@every_case
def test_torch_float32(torch: ModuleType, case: NormCase) -> None:
    for shape in ((8, 6), (4, 6, 30, 31)):
        if case.norm == "instance" and len(shape) == 2:
            continue
        arrays = case.make_arrays(shape)
        wanted = torch_run(torch, case, copies(arrays))
        assert_same(case.run(arrays), wanted, FLOAT32, str(shape))


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
def test_every_triple_of_layouts(torch: ModuleType, case: NormCase) -> None:
    """x, dy and dx each in its own; torch is given contiguous copies, lest a fault of its own be taken for ours."""
    arrays = case.make_arrays((3, 4, 5, 6), "float64")
    wanted = torch_run(torch, case, copies(arrays))
    for of_x, of_dy, of_dx in itertools.product(LAYOUTS, repeat=3):
        given = copies(arrays) | {"x": of_x(arrays["x"]), "dy": of_dy(arrays["dy"])}
        made = case.forward(given)
        got = made | case.backward(given, made, out=of_dx(np.full_like(arrays["x"], np.nan)))
        assert_same(got, wanted, FLOAT64, f"{of_x.__name__}, {of_dy.__name__}, {of_dx.__name__}")


@pytest.mark.parametrize("name", ["batch", "inference", "instance", "group"])
def test_tensors_in_channels_last_memory(torch: Any, name: str) -> None:
    """Tensors as they are, through DLPack, and their memory format kept."""
    case = next(case for case in ALONE if case.name == name)
    arrays = case.make_arrays((3, 4, 5, 6), "float64")
    wanted = torch_run(torch, case, copies(arrays))
    given = tensors_of(torch, copies(arrays))
    for key in ("x", "dy"):
        given[key] = given[key].contiguous(memory_format=torch.channels_last)
    made = case.forward(given)
    got = made | case.backward(given, made)
    assert got["dx"].strides == tuple(8 * stride for stride in given["x"].stride())
    assert_same({key: np.asarray(value) for key, value in got.items()}, wanted, FLOAT64, name)


@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_running_statistics_over_many_batches(torch: Any, momentum: float) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = (np.array([[0, 0, 0], [1, 1, 1]], "f8") for _ in range(2))
    for samples in (2, 5, 3, 8, 1, 4):
        x = rng.standard_normal((samples, 3, 4))
        fastopt.batch_norm_forward(x, None, None, *ours, momentum=momentum)
        running = [torch.from_numpy(statistic) for statistic in theirs]
        torch.nn.functional.batch_norm(torch.from_numpy(x), *running, training=True, momentum=momentum)
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)
