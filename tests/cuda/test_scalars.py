"""lr, step and other numbers on the device: the same step, without reading the number on the host."""

from __future__ import annotations

import numpy as np
import pytest

import fastopt
from fastopt.device.select import machine
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
    if case.target == "param":
        hyperparameters["grad_scale"] = 0.5
        if case.name != "rprop":
            hyperparameters.setdefault("lr", 0.01)
    moved = {"lr", "step", "grad_scale", "alpha"} & set(hyperparameters)
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
    launches, launch, memory, allocate = [], machine().launch, [], machine().allocate

    def capture(*arguments):
        launches.append(arguments)
        launch(*arguments)

    def keep(*arguments):  # a graph has memory of its own
        memory.append(allocate(*arguments))
        return memory[-1]

    monkeypatch.setattr(machine(), "launch", capture)
    monkeypatch.setattr(machine(), "allocate", keep)
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


def test_each_call_has_scalars_of_its_own(monkeypatch):
    """Of two calls by the same numbers, whose kernels may run in any order."""
    lr, held, launch = number(0.5), [], machine().launch
    monkeypatch.setattr(machine(), "launch", lambda *arguments: held.append(arguments))
    allocate, memory = machine().allocate, []
    monkeypatch.setattr(machine(), "allocate", lambda *a: memory.append(allocate(*a)) or memory[-1])
    params, grad = np.ones((2, 3), "f4"), np.zeros(3, "f4")
    for param, decay in zip(params, (0.5, 0.25), strict=True):
        fastopt.sgd(OnDevice(param), OnDevice(grad), lr=lr, weight_decay=decay)
    for i in (0, 2, 1, 3):
        launch(*held[i])
    assert np.all(params == [[0.75], [0.875]])


def test_numbers_are_where_the_arrays_are(monkeypatch):
    param, lr = OnDevice(np.ones(3, "f4")), number(0.5)
    address = lr.__cuda_array_interface__["data"][0]
    monkeypatch.setattr(machine(), "device_of", lambda at: int(at == address))
    with pytest.raises(ValueError, match=r"^lr is on CUDA device 1; expected it on CUDA device 0, where param is"):
        fastopt.sgd(param, OnDevice(np.ones(3, "f4")), lr=lr)


def test_kernels_come_after_what_makes_the_numbers(monkeypatch):
    waits = []
    monkeypatch.setattr(machine(), "wait", lambda device, stream, other: waits.append((stream, other)))
    lr = OnDevice(np.array(0.5), stream=9)
    fastopt.sgd(OnDevice(np.ones(3, "f4"), stream=5), OnDevice(np.ones(3, "f4"), stream=5), lr=lr)
    assert waits == [(5, 9), (9, 5)]


def test_what_the_host_knows_is_checked():
    arrays = BY_NAME["adam"].make_arrays(5)
    with pytest.raises(ValueError, match=r"beta1 is 1.0; expected"):
        fastopt.adam(*map(OnDevice, arrays.values()), step=number(1), beta1=1.0)


def test_host_arrays_take_numbers_of_the_host():
    arrays = BY_NAME["adam"].make_arrays(5)
    with pytest.raises(TypeError, match="lr is a OnDevice on a CUDA device; expected it on the host"):
        fastopt.adam(*arrays.values(), step=1, lr=number(0.1))
