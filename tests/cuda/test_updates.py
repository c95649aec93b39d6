"""Updates of device arrays: the same bits as on the CPU for all arrays; refusals; lists; streams."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import fastopt
from fastopt.backends.cuda import SIMULATED
from fastopt.codegen.cuda.update import CHUNK, LIST, Kernel
from fastopt.device import update as launch
from fastopt.device.select import machine
from fastopt.engine.update.run import run_many
from fastopt.rules.update import sgd
from fastopt.updates.adam import ADAM
from tests.cases import BY_NAME, CASES
from tests.cuda.support import BFLOAT16, Exported, OnDevice, run_on_device
from tests.peers import peer
from tests.support import LAYOUTS, assert_same_bits, copies

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def both(case, arrays, step=3, **options):
    """One step on the host and one on the device; the bits must be the same."""
    host = {name: array.copy() for name, array in arrays.items()}
    case.run(host, step, **options)
    run_on_device(case, arrays, step, **options)
    assert_same_bits(arrays, host, f"{case.name}, step {step}")


def test_the_device_is_simulated():
    assert SIMULATED


@every_case
def test_updates_have_the_bits_of_the_host(case):
    for step, size in ((1, 1), (3, 37), (2**24 + 1, 5)):
        both(case, case.make_arrays(size, seed=size), step)


@every_case
def test_so_have_those_of_float64_and_16_bits(case):
    both(case, case.make_arrays(9, "float64"))
    for dtype in ("float16", BFLOAT16):
        arrays = case.make_arrays(9)
        arrays.update({name: arrays[name].astype(dtype) for name in (case.target, "grad")})
        both(case, arrays)


def test_storages_in_any_combination():
    case = BY_NAME["adam"]
    dtypes = ("float16", BFLOAT16, "float32", "float64")
    for i in range(16):
        arrays = case.make_arrays(7, "float64", seed=i)
        both(case, {name: array.astype(dtypes[(i >> k) % 4]) for k, (name, array) in enumerate(arrays.items())})


@pytest.mark.parametrize("bits", [0x7F800001, 0xFFC00000, 0x7F7FFFFF, 0x7F800000, 0x3F808000, 0x3F818000])
def test_bfloat16_rounds_as_on_the_host(bits):
    """Halfway cases, the largest number, infinity and NaN."""
    grad = np.array([bits], "u4").view("f4")
    host, device = np.zeros(1, BFLOAT16), np.zeros(1, BFLOAT16)
    fastopt.sgd(host, grad, lr=1.0)
    fastopt.sgd(Exported(device), OnDevice(grad), lr=1.0)
    assert host.view("u2") == device.view("u2")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", ["float16", BFLOAT16])
def test_float64_is_rounded_once(dtype, sign):
    """A little above and below the middle of two neighbours, where float32 would see the middle."""
    ulp = 2.0 ** (-10 if dtype == "float16" else -7)
    for value in (1 + 0.5 * ulp * (1 + 1e-9), 1 + 0.5 * ulp * (1 - 1e-9), 1 + 1.5 * ulp * (1 - 1e-9), 1e300):
        grad = np.array([sign * value])
        host, device = np.zeros(1, dtype), np.zeros(1, dtype)
        fastopt.sgd(host, grad, lr=1.0)
        fastopt.sgd(Exported(device), OnDevice(grad), lr=1.0)
        assert host.view("u2") == device.view("u2")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_layouts(layout):
    case = BY_NAME["adam-amsgrad"]
    for one in case.arrays:
        for shape in ((3, 4), (2, 1, 3), ()):
            start = case.make_arrays(shape)
            both(case, {name: layout(array) if name == one else array for name, array in start.items()})


def test_more_axes_than_a_kernel_walks():
    shape = (2,) * (launch.MAX_AXES + 2)
    case = BY_NAME["momentum"]
    arrays = case.make_arrays(shape)
    arrays["grad"] = np.ascontiguousarray(arrays["grad"].astype("float16").T).T
    both(case, arrays)


def test_nothing_is_read_beside_a_strided_array():
    memory = np.full((9, 9), np.nan, "f4")
    param = memory[1:-1:2, -2:0:-2]
    param[...] = 1
    grad = np.ones((4, 4), "f4")
    fastopt.sgd(OnDevice(param), OnDevice(grad), lr=0.5)
    assert np.all(param == 0.5)
    assert np.isnan(memory).sum() == 81 - 16


# ---- Lists


def list_of(sizes, dtype="f4", seed=0):
    case = BY_NAME["adam"]
    return [tuple(case.make_arrays(size, dtype, seed=seed + i).values()) for i, size in enumerate(sizes)]


HYPERPARAMETERS = (3, 1e-3, 0.9, 0.999, 1e-8, True, 0.0, 1.0)


def update_both(tensors):
    host = [tuple(array.copy() for array in arrays) for arrays in tensors]
    run_many(ADAM.updates[()], host, HYPERPARAMETERS, None, None)
    run_many(ADAM.updates[()], [tuple(map(OnDevice, arrays)) for arrays in tensors], HYPERPARAMETERS, None, None)
    for got, wanted in zip(tensors, host, strict=True):
        for a, b in zip(got, wanted, strict=True):
            assert np.array_equal(a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}"))


@pytest.fixture
def launches(monkeypatch):
    """Every launch's kernel, kept while the launches go on."""
    kept, launch_it = [], machine().launch

    def keep(kernel, *arguments):
        kept.append(kernel)
        launch_it(kernel, *arguments)

    monkeypatch.setattr(machine(), "launch", keep)
    return kept


def test_a_list_is_one_launch(launches):
    update_both(list_of([5, 0, 70, CHUNK + 3, 1, *range(2, 12)]))
    assert [kernel.axes for kernel in launches] == [LIST]


def test_a_list_of_several_kinds_is_a_launch_for_each(launches):
    tensors = [*list_of([5, 70]), *list_of([6, 9], "f8", seed=7), *list_of([3], seed=9)]
    strided = [tuple(array[::2] for array in arrays) for arrays in list_of([8], seed=20)]
    update_both([*tensors, *strided])
    assert sorted(kernel.axes for kernel in launches) == [LIST, LIST, 1]


def test_a_table_is_made_once_while_the_pointers_stay(monkeypatch):
    made, make = [], machine().table

    def keep(*arguments):
        made.append(arguments)
        return make(*arguments)

    monkeypatch.setattr(machine(), "table", keep)
    tensors = list_of([11, 12])
    for _ in range(3):
        update_both(tensors)
    assert len(made) == 1
    update_both(list_of([11, 12]))
    assert len(made) == 2


def test_elements_beyond_2_to_the_31():
    """Of arrays that are there, but were never touched elsewhere."""
    count = 2**31 + 9
    param, grad = np.zeros(count, "f4"), np.zeros(count, "f4")
    grad[-5:] = 2
    sizes, firsts = (np.array([word], "u8") for word in (count, 2**64 - count // CHUNK))
    arguments = [[param], [grad], sizes, firsts, 1, 1]  # as if of all chunks, the last were the first one to do
    kernel = Kernel(sgd, 0, ("float32", "float32"), "float32", LIST)
    machine().launch(kernel, 0, 1, 1, 4, [*arguments, 1.0, 0.0, 0.0, 0.5])
    assert np.all(param[-5:] == -1)
    assert param[-6] == 0


# ---- Refusals


def refused(arrays, error, message, **options):
    kept = copies(arrays)
    with pytest.raises(error, match=message):
        run_on_device(BY_NAME["adam"], arrays, **options)
    assert_same_bits(arrays, kept)


@pytest.mark.parametrize("name", ["param", "grad", "m", "v"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x.astype("i4"), TypeError, "has dtype <i4; expected float16, bfloat16"),
        (lambda x: x.astype(">f4"), TypeError, "has dtype >f4"),
        (lambda x: x.astype("c8"), TypeError, "has dtype <c8"),
        (lambda x: np.frombuffer(bytearray(81), "u1")[1:].view("f4"), ValueError, "is misaligned"),
    ],
)
def test_bad_arrays(name, change, error, message):
    arrays = BY_NAME["adam"].make_arrays(20)
    arrays[name] = change(arrays[name])
    refused(arrays, error, f"^{name} {message}")


def test_bad_targets_and_shapes():
    arrays = BY_NAME["adam"].make_arrays(20)
    refused({**arrays, "m": arrays["m"][:-1]}, ValueError, r"^m has shape \(19,\); expected \(20,\)")
    refused({**arrays, "m": arrays["v"]}, ValueError, "^v overlaps m")
    refused(
        {**arrays, "m": np.lib.stride_tricks.as_strided(arrays["m"], strides=(0,))}, ValueError, "^m overlaps itself"
    )
    read_only = arrays["v"].copy()
    read_only.flags.writeable = False
    refused({**arrays, "v": read_only}, TypeError, "^v is read-only")
    refused(arrays, ValueError, "^lr is -1", lr=-1.0)


@pytest.mark.parametrize("backend", ["cython", "numba", "reference"])
def test_a_host_backend_is_refused(backend):
    arrays = BY_NAME["adam"].make_arrays(20)
    refused(arrays, ValueError, f"^backend is '{backend}'; expected None or 'cuda'", backend=backend)


def test_cuda_as_the_backend():
    param = np.ones(3, "f4")
    fastopt.sgd(OnDevice(param), OnDevice(np.ones(3, "f4")), lr=0.5, backend="cuda")
    assert np.all(param == 0.5)
    with pytest.raises(ValueError, match=r"backend is 'cuda'; expected another, since param is in the host's memory"):
        fastopt.sgd(param, np.ones(3, "f4"), lr=0.5, backend="cuda")
    assert np.all(param == 0.5)


def test_host_and_device_together_are_refused():
    param, grad = np.ones(3, "f4"), np.ones(3, "f4")
    with pytest.raises(
        ValueError, match=r"^grad is in the host's memory; expected it on CUDA device 0, where param is"
    ):
        fastopt.sgd(OnDevice(param), grad, lr=0.5)
    with pytest.raises(
        ValueError, match=r"^grad is on CUDA device 0; expected it in the host's memory, where param is"
    ):
        fastopt.sgd(param, OnDevice(grad), lr=0.5)
    with pytest.raises(ValueError, match=r"^grad is on CUDA device 1; expected it on CUDA device 0, where param is"):
        fastopt.sgd(Exported(param), Exported(grad, device=1), lr=0.5)
    assert np.all(param == 1)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"mask": 1}, TypeError, "param is a masked array"),
        ({"data": (0, False)}, ValueError, "param has no memory of its own"),
        ({"data": None}, TypeError, "param is a OnDevice whose __cuda_array_interface__ can't be read"),
    ],
)
def test_bad_interfaces(more, error, message):
    grad = np.ones(3, "f4")
    with pytest.raises(error, match=message):
        fastopt.sgd(OnDevice(np.ones(3, "f4"), **more), OnDevice(grad), lr=0.5)


def test_empty_arrays(launches):
    for shape in ((0,), (3, 0)):
        fastopt.sgd(OnDevice(np.ones(shape, "f4")), OnDevice(np.ones(shape, "f4")), lr=0.5)
    assert not launches


# ---- Streams


@pytest.fixture
def streams(monkeypatch):
    """The streams of all launches, and what waited for what."""
    used = []
    monkeypatch.setattr(machine(), "launch", lambda kernel, device, stream, *rest: used.append(stream))
    monkeypatch.setattr(machine(), "wait", lambda device, stream, other: used.append((stream, other)))
    return used


class Stream:
    """A stream as other libraries have it."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        (7, 7), (0, 1), (Stream(cuda_stream=8), 8), (Stream(ptr=9), 9), (Stream(handle=Stream(value=10)), 10),
        (Stream(handle=Stream(value=None)), 1), (Stream(__cuda_stream__=lambda: (0, 11)), 11),
    ],
)  # fmt: skip
def test_the_callers_stream_is_used(streams, stream, handle):
    fastopt.sgd(OnDevice(np.ones(3, "f4"), stream=5), OnDevice(np.ones(3, "f4")), lr=0.5, stream=stream)
    assert streams == [handle]


def test_else_the_producers_are(streams):
    param, grad = OnDevice(np.ones(3, "f4"), stream=5), OnDevice(np.ones(3, "f4"), stream=6)
    fastopt.sgd(param, grad, lr=0.5)
    assert streams == [(5, 6), 5, (6, 5)]
    fastopt.sgd(OnDevice(np.ones(3, "f4")), OnDevice(np.ones(3, "f4"), stream=None), lr=0.5)
    assert streams[3:] == [1]


@pytest.mark.parametrize(
    "stream",
    [
        "7",
        True,
        -1,
        1.5,
        1 << 64,
        Stream(handle=-3),
        Stream(ptr="q"),
        Stream(cuda_stream=2.0),
        Stream(__cuda_stream__=3),
    ],
    ids=str,
)
def test_other_streams_are_refused(streams, stream):
    with pytest.raises(TypeError, match=r"^stream is .*; expected None, a stream, or a stream's handle"):
        fastopt.sgd(OnDevice(np.ones(3, "f4")), OnDevice(np.ones(3, "f4")), lr=0.5, stream=stream)
    assert not streams


def test_the_stream_of_each_thread_is_refused(streams):
    """What one thread takes of it, another one may give back."""
    for options in ({"stream": 2}, {}):
        with pytest.raises(ValueError, match="stream is the per-thread default stream"):
            fastopt.sgd(OnDevice(np.ones(3, "f4"), stream=2), OnDevice(np.ones(3, "f4")), lr=0.5, **options)
    assert not streams


def test_host_arrays_have_no_stream():
    with pytest.raises(ValueError, match=r"^stream is 5; expected None, since param is in the host's memory"):
        fastopt.sgd(np.ones(3), np.ones(3), lr=0.5, stream=5)


def test_tensors_that_require_grad(monkeypatch):
    """A stand-in for PyTorch's tensors on a device: accepted under no_grad, refused elsewhere, as on the host."""
    torch = peer("torch")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=0))

    class Tensor(torch.Tensor):
        def __dlpack_device__(self):
            return 2, 0

        def __dlpack__(self, **options):
            assert not self.requires_grad
            return Exported(self.as_subclass(torch.Tensor).numpy()).__dlpack__(**options)

    for i, name in enumerate(("param", "grad")):
        tensors = [torch.ones(3).as_subclass(Tensor) for _ in range(2)]
        tensors[i].requires_grad_()
        versions = [tensor._version for tensor in tensors]
        with pytest.raises(TypeError, match=f"^{name} requires grad, and autograd does not record this call"):
            fastopt.sgd(*tensors, lr=0.5)
        assert tensors[0].tolist() == [1.0] * 3
        with torch.no_grad():
            fastopt.sgd(*tensors, lr=0.5)
        assert tensors[0].tolist() == [0.5] * 3
        assert [tensor._version > version for tensor, version in zip(tensors, versions, strict=True)] == [True, False]
