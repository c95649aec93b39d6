"""lr, step and other numbers from the device: the same step, and no look at the number from the host."""

from __future__ import annotations

import numpy as np
import pytest

import fastopt
from fastopt.device.machine import machine
from tests.cases import BY_NAME, CASES
from tests.cuda.support import OnDevice
from tests.support import assert_same_bits, copies

#: What can't be decided on the device: which kernel, or what is refused.
HOST_ONLY = {
    "asgd": {"step"}, "nadam": {"step"}, "nadam-decoupled": {"step"}, "radam": {"step"}, "radam-decoupled": {"step"},
    "ademamix-warmup": {"step"}, "adan": {"step"},
}  # fmt: skip


def number(value):
    """A number on the device, such as an optimizer keeps for a graph."""
    return OnDevice(np.array(value, "i8" if isinstance(value, int) else "f8"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_step_is_the_same(case, dtype):
    hyperparameters = case.hyperparameters(3)
    if "eta_plus" not in hyperparameters and case.name != "rprop":
        hyperparameters.setdefault("lr", 0.01)
    hyperparameters["grad_scale"] = 0.5
    moved = {"lr", "step", "grad_scale"} & set(hyperparameters)
    host, device = case.make_arrays(9, dtype), case.make_arrays(9, dtype)
    case.update(**host, **hyperparameters)
    for names in (moved, *({name} for name in moved)):
        names = names - HOST_ONLY.get(case.name, set())
        arrays = copies(device)
        on_device = {name: number(value) if name in names else value for name, value in hyperparameters.items()}
        case.update(**{name: OnDevice(array) for name, array in arrays.items()}, **on_device)
        assert_same_bits(arrays, host, f"{case.name} with {names} on the device")


@pytest.mark.parametrize("name", HOST_ONLY)
def test_what_the_host_must_know_is_refused_by_name(name):
    case = BY_NAME[name]
    arrays = case.make_arrays(5)
    kept = copies(arrays)
    with pytest.raises(TypeError, match=r"^step is .*on a CUDA device; expected it on the host"):
        case.update(
            **{key: OnDevice(array) for key, array in arrays.items()},
            **{**case.hyperparameters(3), "step": number(3)},
        )
    assert_same_bits(arrays, kept)


def test_a_replayed_graph_takes_the_numbers_of_then(monkeypatch):
    """The launches of one call, made again after lr and step have changed, as a graph makes them."""
    launches, launch = [], machine().launch

    def capture(*arguments):
        launches.append(arguments)
        launch(*arguments)

    monkeypatch.setattr(machine(), "launch", capture)
    lr, step = np.array(0.5), np.array(1)
    host = BY_NAME["adamw"].make_arrays(7)
    device = copies(host)
    fastopt.adamw(*map(OnDevice, device.values()), lr=OnDevice(lr), step=OnDevice(step))
    fastopt.adamw(**host, lr=0.5, step=1)
    lr[...], step[...] = 0.25, 2
    for arguments in launches.copy():
        launch(*arguments)
    fastopt.adamw(**host, lr=0.25, step=2)
    assert len(launches) == 2
    assert_same_bits(device, host)


def test_without_decay_the_kernel_is_the_one_without(monkeypatch):
    """An infinite parameter, a mask say, stays what it is."""
    param = np.array([np.inf, 1.0], "f4")
    grad, m, v = np.zeros((3, 2), "f4")
    fastopt.adamw(*map(OnDevice, (param, grad, m, v)), lr=number(0.1), step=number(1), weight_decay=0.0)
    assert list(param) == [np.inf, 1.0]


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("lr", np.ones(2), ValueError, r"lr has shape \(2,\); expected one number"),
        ("lr", np.ones(1, "f2"), TypeError, "lr has dtype <f2; expected one of float32, float64, int32, int64"),
        ("eps", np.ones(1), TypeError, "eps is on a CUDA device; expected it on the host"),
    ],
)
def test_bad_numbers(name, value, error, message):
    arrays = BY_NAME["adam"].make_arrays(5)
    kept = copies(arrays)
    with pytest.raises(error, match=message):
        fastopt.adam(*map(OnDevice, arrays.values()), **{"step": 1, name: OnDevice(value)})
    assert_same_bits(arrays, kept)


def test_what_the_host_knows_is_checked():
    arrays = BY_NAME["adam"].make_arrays(5)
    with pytest.raises(ValueError, match=r"beta1 is 1.0; expected"):
        fastopt.adam(*map(OnDevice, arrays.values()), step=number(1), beta1=1.0)


def test_host_arrays_take_numbers_of_the_host():
    arrays = BY_NAME["adam"].make_arrays(5)
    with pytest.raises(TypeError, match="lr is a OnDevice on a CUDA device; expected it on the host"):
        fastopt.adam(*arrays.values(), step=1, lr=number(0.1))
