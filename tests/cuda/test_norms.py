"""Norms of device arrays: the same bits as on the CPU for all norms and arrays; new arrays; refusals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.device.arrays import DeviceArray, dense
from fastopt.device.norm_plan import plan
from fastopt.device.select import machine
from fastopt.norm import DatasetStatistics
from tests.cuda.support import OnDevice, on_device
from tests.norm_cases import BFLOAT16, BY_NAME, CASES
from tests.support import LAYOUTS, Arrays, assert_same_bits, copies

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
FUSED = [case for case in CASES if case.residual and case.activation]
fused = pytest.mark.parametrize("case", FUSED, ids=lambda case: case.name)
#: A walk over each kind of rows: a channel's space, along and across memory; a sample's features.
walks = pytest.mark.parametrize("name", ["batch+both", "batch-last+both", "group-last+both", "layer+both"])


def sent(arrays: Arrays) -> Arrays:
    """The arrays as a device's; test cases want to know their shapes."""
    there = {name: on_device(array) for name, array in arrays.items()}
    for name, array in there.items():
        array.shape = arrays[name].shape
    return there


def fetched(array: Any) -> np.ndarray:
    """What is in a device's array."""
    if not isinstance(array, DeviceArray):
        return array.memory
    interface = {**array.__cuda_array_interface__, "stream": None}
    return (
        np.asarray(SimpleNamespace(__array_interface__=interface, owner=array))
        if 0 not in array.shape
        else (np.empty(array.shape, interface["typestr"]))
    )


def both(case, arrays: Arrays, what: str = "") -> None:
    """Both passes on the host and on the device; everything that they make must have the same bits."""
    there = sent(copies(arrays))
    with np.errstate(all="ignore"):
        wanted = case.run(copies(arrays))
        got = {name: fetched(array) for name, array in case.run(there).items()}
    for name in wanted:
        assert got[name].dtype == wanted[name].dtype
        assert got[name].shape == wanted[name].shape
    assert_same_bits(got, wanted, f"{case.name} {what}")


# ---- The bits of the host


@every_case
def test_every_norm_alone_and_fused(case):
    both(case, case.make_arrays((2, 4, 3)))


@fused
def test_without_space(case):
    both(case, case.make_arrays((3, 4)))


@walks
def test_float64(name):
    case = BY_NAME[name]
    both(case, case.make_arrays((2, 4, 3), "f8"))


@walks
def test_blocks_with_room_for_several_rows(name, monkeypatch):
    """As on a device: elsewhere here, a block is as small as can be."""
    monkeypatch.setattr(machine(), "threads", lambda wanted, least: min(wanted, 4 * least))
    plan.cache_clear()
    try:
        case = BY_NAME[name]
        both(case, case.make_arrays((5, 8, 9)))
    finally:
        plan.cache_clear()


@walks
def test_float16(name):
    case = BY_NAME[name]
    both(case, case.make_arrays((2, 4, 3), "f2"))


@pytest.mark.parametrize("compute", ["f4", "f8"])
@walks
def test_bfloat16_and_all_others_at_once(name, compute):
    case = BY_NAME[name]
    arrays = {key: array.astype(compute) for key, array in case.make_arrays((2, 4, 3)).items()}
    arrays.update({key: arrays[key].astype(BFLOAT16) for key in ("x", "weight")})
    arrays.update({key: arrays[key].astype("f2") for key in ("dy", "residual", "running_mean") if key in arrays})
    shapes = {key: array.shape for key, array in case.run(copies(arrays)).items()}
    results = {key: np.zeros(shape, BFLOAT16) for key, shape in shapes.items()}
    made = []
    for move in (lambda arrays: arrays, sent):
        given, into = move(copies(arrays)), move(copies(results))
        forward = case.forward(given, out=tuple(into[key] for key in case.made_forward))
        backward = case.backward(given, forward, out=tuple(into[key] for key in case.made_backward))
        made.append(forward | backward)
        assert all(made[-1][key] is into[key] for key in case.made_forward + case.made_backward)
    assert_same_bits({key: array.memory for key, array in made[1].items()}, made[0], name)


@pytest.mark.parametrize("value", [1e6, 1e30, 1e-25, np.inf, np.nan])
@pytest.mark.parametrize("name", ["batch", "batch-last", "layer"])
def test_a_second_round_where_it_is_wanted(name, value):
    """Of one channel or sample, by values that no first round is good for; and a constant one."""
    case = BY_NAME[name]
    arrays = case.make_arrays((5, 3))
    one, another = ((slice(None), 0), (slice(None), 1)) if name != "layer" else (0, 1)
    arrays["x"][one] = np.float32(value) - 2
    arrays["x"][one][-1:] += 3
    arrays["x"][another] = 3
    both(case, arrays)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("batch", (3, 2, 90)),
        ("batch", (1, 1, 2100)),
        ("batch-last", (2, 2, 70)),
        ("layer", (2, 300)),
        ("layer", (35, 2)),
    ],
)
def test_several_groups_of_lanes_and_several_parts(name, shape):
    case = BY_NAME[name]
    both(case, case.make_arrays(shape))


def test_running_statistics():
    case = BY_NAME["batch"]
    arrays = case.make_arrays((3, 2, 2))
    arrays["x"][:, 1] = 3e38 * np.sign(arrays["x"][:, 1])  # a variance that no float32 is as large as
    for options in ({"momentum": 0.0}, {"momentum": 1.0}, {"momentum": 1.0, "unbiased": False}):
        host, there = copies(arrays), sent(copies(arrays))
        wanted = case.forward(host, **options)
        got = case.forward(there, **options)
        assert_same_bits({name: fetched(array) for name, array in got.items()}, wanted, str(options))


def test_one_value_per_channel():
    both(BY_NAME["batch"], BY_NAME["batch"].make_arrays((1, 3)))


def test_one_statistic_for_all():
    x, dy = np.random.default_rng(0).standard_normal((2, 3, 5)).astype("f4")
    y, mean, rstd = fastopt.layer_norm_forward(x, axis=0)
    wanted = [y, mean, rstd, *fastopt.layer_norm_backward(dy, x, None, mean, rstd, axis=0)]
    y, mean, rstd = fastopt.layer_norm_forward(OnDevice(x), axis=0)
    got = [y, mean, rstd, *fastopt.layer_norm_backward(OnDevice(dy), OnDevice(x), None, mean, rstd, axis=0)]
    assert_same_bits(dict(enumerate(map(fetched, got))), dict(enumerate(wanted)))


def test_many_axes():
    """None of which merge, of x; and the channels in the middle."""
    x = np.random.default_rng(0).standard_normal((3, 2, 3, 2, 2)).astype("f4")[::2, :, ::2, ::-1].swapaxes(1, 4)
    wanted = fastopt.batch_norm_forward(x, axis=2)
    got = fastopt.batch_norm_forward(OnDevice(x), axis=2)
    assert_same_bits(dict(enumerate(map(fetched, got))), dict(enumerate(wanted)))


@pytest.mark.parametrize("name", ["batch", "inference", "layer", "group"])
@pytest.mark.parametrize("shape", [(0, 4, 2), (2, 0, 3), (2, 4, 0)])
def test_zero_size(name, shape):
    case = BY_NAME[name]
    both(case, case.make_arrays(shape))


# ---- Layouts


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@walks
def test_layouts(name, layout):
    case = BY_NAME[name]
    arrays = case.make_arrays((2, 4, 3))
    wanted = case.run(copies(arrays))
    given = sent({key: layout(array) for key, array in arrays.items()})
    into = sent({key: layout(np.zeros_like(array)) for key, array in wanted.items()})
    got = case.forward(given, out=tuple(into[key] for key in case.made_forward))
    got |= case.backward(given, got, out=tuple(into[key] for key in case.made_backward))
    assert_same_bits({key: array.memory for key, array in got.items()}, wanted, f"{name}, {layout.__name__}")


def test_arrays_of_one_call_may_differ_in_layout():
    case = BY_NAME["batch+both"]
    arrays = case.make_arrays((2, 3, 2, 2))
    mixed = {name: LAYOUTS[i % len(LAYOUTS)](array) for i, (name, array) in enumerate(arrays.items())}
    wanted = case.forward(copies(arrays))
    got = case.forward(sent(mixed))
    assert_same_bits({name: fetched(array) for name, array in got.items()}, wanted)


# ---- New arrays


def test_new_results_have_the_memory_order_of_x():
    x = np.asfortranarray(np.arange(24, dtype="f4").reshape(2, 3, 4))
    y, mean, rstd = fastopt.batch_norm_forward(OnDevice(x))
    assert y.__cuda_array_interface__["strides"] == x.strides
    assert y.__cuda_array_interface__["typestr"] == "<f4"
    assert mean.shape == rstd.shape == (3,)


def test_gaps_are_closed():
    assert dense((2, 3, 4), (24, 4, 1)) == (12, 4, 1)
    assert dense((2, 3, 4), (1, -40, 10)) == (1, 8, 2)
    assert dense((3, 1, 2), (0, 5, 0)) == (2, 6, 1)
    assert dense((0, 2), (2, 1)) == (2, 1)


def test_out_is_returned():
    x, y = (OnDevice(np.ones((2, 3), "f4")) for _ in range(2))
    returned = fastopt.batch_norm_forward(x, out=(y, None, None))
    assert returned[0] is y
    assert isinstance(returned[1], DeviceArray)
    assert fastopt.batch_norm_inference(x, None, None, OnDevice(np.ones(3)), OnDevice(np.ones(3)), out=y) is y


# ---- Refusals


def refused(error, message, function, *arguments, **options):
    arrays = [each.memory for each in arguments if isinstance(each, OnDevice)]
    before = [array.copy() for array in arrays]
    with pytest.raises(error) as raised:
        function(*arguments, **options)
    assert message in str(raised.value)
    for array, was in zip(arrays, before, strict=True):
        assert array.tobytes() == was.tobytes()


def test_all_arrays_are_on_one_device():
    x, weight = np.ones((2, 3), "f4"), np.ones(3, "f4")
    here, there = "in the host's memory", "on CUDA device 0"
    forward = fastopt.batch_norm_forward
    refused(ValueError, f"weight is {here}; expected it {there}, where x is", forward, OnDevice(x), weight)
    refused(ValueError, f"weight is {there}; expected it {here}, where x is", forward, x, OnDevice(weight))
    refused(ValueError, f"y is {here}; expected it {there}, where x is", forward, OnDevice(x), out=x.copy())


def test_streams_and_backends_of_the_other_side():
    x = np.ones((2, 3), "f4")
    refused(ValueError, "stream is 5; expected None", fastopt.batch_norm_forward, x, stream=5)
    refused(
        ValueError,
        "backend is 'numba'; expected None or 'cuda'",
        fastopt.batch_norm_forward,
        OnDevice(x),
        backend="numba",
    )
    refused(ValueError, "backend is 'cuda'; expected another", fastopt.batch_norm_forward, x, backend="cuda")
    refused(TypeError, "stream is 'a'", fastopt.batch_norm_forward, OnDevice(x), stream="a")
    fastopt.batch_norm_forward(OnDevice(x), backend="cuda", stream=5)


def test_checks_are_those_of_the_host():
    x = OnDevice(np.ones((2, 3), "f4"))
    refused(ValueError, "weight has shape (2,); expected (3,)", fastopt.batch_norm_forward, x, OnDevice(np.ones(2)))
    refused(ValueError, "y overlaps x", fastopt.batch_norm_forward, x, out=x)
    refused(ValueError, "x has shape (3,)", fastopt.batch_norm_forward, OnDevice(np.ones(3)))


def test_what_is_not_in_this_version():
    x = np.ones((2, 3), "f4")
    refused(fastopt.BackendUnavailable, "moments of host arrays only", DatasetStatistics(3).update, OnDevice(x))
    refused(TypeError, "y is None; expected an array", fastopt.batch_norm_forward, on_device(x.astype(BFLOAT16)))


def test_scratch_memory_is_given_back(monkeypatch):
    """Nothing of a call is kept, but plans."""
    kept = []
    allocate = machine().allocate
    monkeypatch.setattr(type(machine()), "allocate", lambda self, *a: kept.append(a) or allocate(*a))
    x = OnDevice(np.ones((2, 3), "f4"))
    for _ in range(2):
        fastopt.batch_norm_forward(
            x, out=(OnDevice(np.ones((2, 3), "f4")), *(OnDevice(np.ones(3, "f4")) for _ in "ab"))
        )
    assert len(kept) == 2
    assert kept[0] == kept[1]
