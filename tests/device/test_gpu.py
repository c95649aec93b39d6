"""On a CUDA device: the same bits as on the host. Run with ``pytest -m gpu``."""

from __future__ import annotations

import numpy as np
import pytest

import fastopt
from fastopt import dropout_backward, dropout_forward, init
from fastopt.engine.update.run import run_many
from fastopt.scaling import MaxAbsScaler, MeanNormalizer, MinMaxScaler, StandardScaler
from fastopt.updates.adam import ADAM
from tests.cases import BY_NAME, CASES
from tests.norm_cases import CASES as NORMS
from tests.peers import peer
from tests.random.test_dropout import SPECIAL
from tests.random.test_random import FILLS, KEY
from tests.scaling.test_same_bits import SHAPES, data
from tests.support import assert_same_bits

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cuda():
    """Numba's CUDA target, where a device can be used."""
    peer("numba_cuda")
    from fastopt.device.select import machine

    try:
        machine()
    except fastopt.BackendUnavailable as error:
        pytest.skip(str(error))
    return peer("numba.cuda")


def both(cuda, case, arrays, step=3):
    on_device = {name: cuda.to_device(array) for name, array in arrays.items()}
    case.run(arrays, step)
    case.run(on_device, step)
    assert_same_bits({name: array.copy_to_host() for name, array in on_device.items()}, arrays, case.name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_updates_have_the_bits_of_the_host(cuda, case, dtype):
    for step, size in ((1, 1), (3, 1023), (2**24 + 1, 3_000_001)):
        both(cuda, case, case.make_arrays(size, dtype, seed=size), step)


def test_strided_and_16_bits(cuda):
    case = BY_NAME["adam"]
    arrays = case.make_arrays((301, 77))
    arrays["grad"] = np.asfortranarray(arrays["grad"].astype("float16"))
    both(cuda, case, arrays)


def test_a_list(cuda):
    tensors = [tuple(BY_NAME["adam"].make_arrays(size, seed=size).values()) for size in (3, 100_003, 17)]
    on_device = [tuple(map(cuda.to_device, arrays)) for arrays in tensors]
    hyperparameters = (3, 1e-3, 0.9, 0.999, 1e-8, True, 0.0, 1.0)
    for _ in range(2):
        run_many(ADAM.updates[()], tensors, hyperparameters, None, None)
        run_many(ADAM.updates[()], on_device, hyperparameters, None, None)
    for got, wanted in zip(on_device, tensors, strict=True):
        for a, b in zip(got, wanted, strict=True):
            assert np.array_equal(a.copy_to_host().view("u4"), b.view("u4"))


def test_tensors_of_pytorch(cuda):
    torch = peer("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    case = BY_NAME["adamw"]
    arrays = case.make_arrays(100_003)
    tensors = {name: torch.from_numpy(array.copy()).cuda() for name, array in arrays.items()}
    tensors["param"].requires_grad_()
    version = tensors["param"]._version
    with torch.cuda.stream(torch.cuda.Stream()), torch.no_grad():
        case.run(tensors, 3)
    torch.cuda.synchronize()
    case.run(arrays, 3)
    assert_same_bits({name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}, arrays)
    assert tensors["param"]._version > version


def test_a_graph_takes_lr_and_step_of_its_replay(cuda):
    torch = peer("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    case = BY_NAME["adamw"]
    arrays = case.make_arrays(1000)
    tensors = {name: torch.from_numpy(array.copy()).cuda() for name, array in arrays.items()}
    lr, step = torch.tensor(0.5, device="cuda"), torch.tensor(1, device="cuda")
    warm = {name: tensor.clone() for name, tensor in tensors.items()}
    case.update(**warm, lr=lr, step=step)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        case.update(**tensors, lr=lr, step=step)
    for at, rate in ((1, 0.5), (2, 0.25), (3, 0.125)):
        step.fill_(at)
        lr.fill_(rate)
        graph.replay()
        case.update(**arrays, lr=rate, step=at)
    torch.cuda.synchronize()
    for name, tensor in tensors.items():  # a power on the device may round otherwise
        np.testing.assert_allclose(tensor.cpu().numpy(), arrays[name], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 4, 3), (5, 64, 37, 41), (300, 96)], ids=str)
@pytest.mark.parametrize("case", NORMS, ids=lambda case: case.name)
def test_norms_have_the_bits_of_the_host(cuda, case, shape, dtype):
    arrays = case.make_arrays(shape, dtype)
    on_device = {name: cuda.to_device(array) for name, array in arrays.items()}
    wanted = case.run(arrays)
    got = {name: cuda.as_cuda_array(array).copy_to_host() for name, array in case.run(on_device).items()}
    assert_same_bits(got, wanted, case.name)


def test_norms_of_tensors(cuda):
    torch = peer("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    case = next(case for case in NORMS if case.name == "batch+both")
    arrays = case.make_arrays((3, 5, 7))
    tensors = {name: torch.from_numpy(array.copy()).cuda() for name, array in arrays.items()}
    version = tensors["running_mean"]._version
    with torch.cuda.stream(torch.cuda.Stream()):
        got = case.run(tensors)
    torch.cuda.synchronize()
    assert tensors["running_mean"]._version > version
    assert_same_bits({name: tensor.cpu().numpy() for name, tensor in got.items()}, case.run(arrays))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("fill", ["normal", "truncated", "uniform"])
def test_random_numbers_have_the_bits_of_the_host(cuda, fill, dtype):
    for shape in [(1,), (1023,), (3_000_001,), (301, 77)]:
        for layout in (np.ascontiguousarray, np.asfortranarray):
            param = layout(np.zeros(shape, dtype))
            on_device = cuda.to_device(param)
            FILLS[fill](on_device, **KEY)
            FILLS[fill](param, **KEY)
            assert_same_bits({"param": on_device.copy_to_host()}, {"param": param}, str(shape))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("function", [dropout_forward, dropout_backward], ids=lambda function: function.__name__)
def test_dropout_has_the_bits_of_the_host(cuda, function, dtype):
    for x in (np.random.default_rng(0).standard_normal((1023, 3001)).astype(dtype), np.arange(2000, dtype=dtype)):
        for layout in (np.ascontiguousarray, np.asfortranarray):
            on_device = cuda.to_device(layout(x))
            for given, wanted in ((on_device, layout(x)), (on_device[1:], layout(x)[1:])):  # which is not aligned
                for options in ({"p": 0.3}, {"p": 0.0}, {"p": 1.0}, {"p": 0.3, "mode": "test-time", "training": False}):
                    y = cuda.as_cuda_array(function(given, **options, **KEY)).copy_to_host()
                    assert_same_bits({"y": y}, {"y": function(wanted, **options, **KEY)}, str(options))
            assert function(on_device, p=0.3, out=on_device, **KEY) is on_device
            assert_same_bits({"x": on_device.copy_to_host()}, {"x": function(x, p=0.3, **KEY)})


def test_dropout_of_nothing_moves_bits(cuda):
    x = np.resize(SPECIAL, (70, 3))
    for layout in (np.ascontiguousarray, np.asfortranarray):
        y = dropout_forward(cuda.to_device(layout(x)), p=0.0, seed=1)
        assert_same_bits({"y": cuda.as_cuda_array(y).copy_to_host()}, {"y": x})


def test_random_numbers_of_tensors(cuda):
    torch = peer("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    host, tensor = torch.zeros(301, 77, dtype=torch.bfloat16), torch.zeros(301, 77, dtype=torch.bfloat16, device="cuda")
    version = tensor._version
    with torch.cuda.stream(torch.cuda.Stream()):
        init.he_normal_(tensor, **KEY)
        dropped = dropout_forward(tensor, p=0.3, **KEY)
    torch.cuda.synchronize()
    assert tensor._version > version
    init.he_normal_(host, **KEY)
    assert (tensor.cpu().view(torch.int16) == host.view(torch.int16)).all()
    wanted = dropout_forward(host, p=0.3, out=torch.empty_like(host), **KEY)
    assert (dropped.dtype, dropped.device) == (tensor.dtype, tensor.device)
    assert (dropped.cpu().view(torch.int16) == wanted.view(torch.int16)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("kind", [MinMaxScaler, MeanNormalizer, StandardScaler, MaxAbsScaler])
def test_scaling_has_the_bits_of_the_host(cuda, kind, dtype):
    for shape in SHAPES:
        for layout in (np.ascontiguousarray, np.asfortranarray):
            x = layout(data(shape, dtype))
            on_device = cuda.to_device(x)
            here, there = (kind(nan="ignore").fit(each) for each in (x, on_device))
            assert_same_bits(vars(there._statistics), vars(here._statistics), str(shape))
            y = cuda.as_cuda_array(there.transform(on_device)).copy_to_host()
            assert_same_bits({"y": y}, {"y": here.transform(x)}, str(shape))
            there.transform_(on_device)
            assert_same_bits({"x": on_device.copy_to_host()}, {"x": y}, str(shape))


def test_scaling_of_tensors_and_nan(cuda):
    torch = peer("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    x = data((5000, 7), "float32", nan=False)
    scaler, tensor = StandardScaler().fit(x), torch.from_numpy(x.copy()).cuda()
    version = tensor._version
    with torch.cuda.stream(torch.cuda.Stream()):
        scaler.transform_(tensor)
    torch.cuda.synchronize()
    assert tensor._version > version
    assert_same_bits({"x": tensor.cpu().numpy()}, {"x": scaler.transform(x)})
    tensor[4321, 5] = float("nan")
    with pytest.raises(ValueError, match="x has a NaN in feature 5, sample 4321"):
        scaler.transform_(tensor)
